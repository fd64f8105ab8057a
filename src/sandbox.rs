//! `decamp sandbox`: a small simulated cluster on loopback ports, for decamp and the vendors' own clients.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use decamp_sandbox::{Options, serve};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use super::exit;
use super::out::{complain, say_raw};

const HELP: &str = "One departure, in two terminals:
  1$ decamp sandbox | tee sandbox.env
  2$ . ./sandbox.env
  2$ curl -X POST \"$AWS_ENDPOINT_URL/sandbox/terminate?instance=i-…\"    # one that it printed
  2$ decamp run --instance i-…
  2$ curl $AWS_ENDPOINT_URL/sandbox/state                               # how many requests failed

A whole refresh, with a third terminal:
  3$ . ./sandbox.env; DECAMP_SWEEP=5s decamp serve                      # its page: http://127.0.0.1:8481
  2$ curl -X POST $AWS_ENDPOINT_URL/sandbox/release                     # another version of the launch template
  2$ decamp refresh start --asg web";

/// The time-out that decamp recommends, so that a first `decamp check` has no warnings.
const HOOK: Duration = Duration::from_secs(900);

/// Run a small simulated cluster: AWS, Nomad and Consul on free ports, with clients that send requests all the time.
///
/// It prints the addresses as shell exports. Ctrl-C ends it, and it keeps nothing.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Nodes at the start, each with an instance
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=200))]
    nodes: u32,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The seed of the simulated systems
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Requests per second that the clients send
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
        complain(format!("anyone who can reach {} can use the sandbox", arguments.listen));
    }
    say_raw(sandbox.exports().trim_end());
    select! {
        _ = interrupt.recv() => exit::INTERRUPTED,
        _ = terminate.recv() => exit::TERMINATED,
    }
}
