//! `decamp sandbox`: a small simulated cluster on loopback ports, for decamp and the vendors' own clients.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use decamp_sandbox::{Options, serve};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use super::exit;
use super::out::{complain, say_as_it_is};

const HELP: &str = "One departure, in two terminals:
  1$ decamp sandbox | tee sandbox.env
  2$ . ./sandbox.env
  2$ curl -X POST \"$AWS_ENDPOINT_URL/sandbox/terminate?instance=i-…\"    # one of those that it names
  2$ decamp run --instance i-…
  2$ curl $AWS_ENDPOINT_URL/sandbox/state                               # how many requests failed

A whole refresh, in a third one as well:
  3$ . ./sandbox.env; DECAMP_SWEEP=5s decamp serve                      # its page: http://127.0.0.1:8481
  2$ curl -X POST $AWS_ENDPOINT_URL/sandbox/release                     # another version of the launch template
  2$ decamp refresh start --asg web";

/// What decamp recommends: a first `decamp check` finds nothing to warn about.
const HOOK: Duration = Duration::from_secs(900);

/// Run a small simulated cluster: AWS, Nomad and Consul on free ports, with clients that send requests all the time.
///
/// The addresses are printed as shell exports. It ends with Ctrl-C, and nothing is kept.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Nodes at the start, each with its instance
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=200))]
    nodes: u32,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The seed of the simulated systems
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Requests a second that clients send
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// The target groups' deregistration delay, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    delay: u64,
    /// Require tokens, like a cluster with ACLs; they are printed with the addresses
    #[arg(long)]
    acls: bool,
}

pub(crate) fn sandbox(arguments: &Arguments) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(until_a_signal(arguments))),
        Err(error) => {
            complain(format!("cannot start: {error}"));
            ExitCode::from(exit::ERROR)
        }
    }
}

async fn until_a_signal(arguments: &Arguments) -> u8 {
    let options = Options {
        nodes: arguments.nodes,
        listen: arguments.listen,
        seed: arguments.seed,
        rate: arguments.rate,
        delay: Duration::from_secs(arguments.delay),
        acls: arguments.acls,
        heartbeat_timeout: HOOK,
        ..Options::default()
    };
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        complain("cannot listen for signals");
        return exit::ERROR;
    };
    let sandbox = match serve(&options).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            complain(format!("cannot listen on {}: {error}; choose another address with --listen", arguments.listen));
            return exit::ERROR;
        }
    };
    if !arguments.listen.is_loopback() {
        complain(format!("anybody who reaches {} may use the sandbox", arguments.listen));
    }
    say_as_it_is(sandbox.exports().trim_end());
    select! {
        _ = interrupt.recv() => exit::INTERRUPTED,
        _ = terminate.recv() => exit::TERMINATED,
    }
}
