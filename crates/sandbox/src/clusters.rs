//! Two clusters in one account: two sandboxes behind one AWS, and the document of settings that names both.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{CONSUL_TOKEN, NOMAD_TOKEN, Options, Sandbox, serve, tokens};
use crate::wire::{self, Server, Side, aws};

/// What green's Nomad knows.
const GREEN_NOMAD_TOKEN: &str = "0c0c0c0c-0000-4000-8000-00000000dec0";
/// What green's Consul knows.
const GREEN_CONSUL_TOKEN: &str = "0d0d0d0d-0000-4000-8000-00000000dec0";

/// Two clusters, blue and green, each with an Auto Scaling group and with tokens of its own, which the other does not know.
pub struct TwoClusters {
    /// The first, with the group `web`. Parameters, secrets and queues of the account are in its stores.
    pub blue: Sandbox,
    /// The other, with the group `shop`.
    pub green: Sandbox,
    /// The AWS of both.
    pub aws: Server,
}

impl TwoClusters {
    /// Two clusters that are alike.
    ///
    /// # Errors
    /// Loopback cannot be listened on.
    pub async fn serve(options: &Options) -> io::Result<Self> {
        let blue = serve(&Options { acls: true, ..options.clone() }).await?;
        let green =
            Options { acls: true, asg: "shop".into(), first: options.first + 1_000, seed: options.seed + 1, ..options.clone() };
        let green = serve(&green).await?;
        green.shared.set_tokens(tokens(GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN));
        keep(&blue, "blue", NOMAD_TOKEN, CONSUL_TOKEN);
        keep(&blue, "green", GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN);
        let both = vec![Arc::clone(&blue.shared), Arc::clone(&green.shared)];
        let free = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let aws = wire::serve(&blue.shared, Side::Aws, aws::joint::router(both), free).await?;
        Ok(Self { blue, green, aws })
    }

    /// The tables of both, by which decamp looks after them.
    #[must_use]
    pub fn document(&self) -> String {
        [("blue", &self.blue), ("green", &self.green)].map(|(name, sandbox)| table(name, sandbox)).concat()
    }

    /// Their tokens, which nothing may print.
    #[must_use]
    pub fn tokens(&self) -> [&'static str; 4] {
        [NOMAD_TOKEN, CONSUL_TOKEN, GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN]
    }
}

/// Puts a cluster's tokens where its table says that they are.
fn keep(account: &Sandbox, name: &str, nomad: &str, consul: &str) {
    let mut stores = account.shared.stores();
    stores.parameters.insert(format!("/{name}/nomad"), nomad.to_owned());
    stores.parameters.insert(format!("/{name}/consul"), consul.to_owned());
}

fn table(name: &str, sandbox: &Sandbox) -> String {
    let (group, nomad, consul) = (&sandbox.asg, sandbox.nomad.url(), sandbox.consul.url());
    format!(
        "[clusters.{name}]\ngroups = [\"{group}\"]\nNOMAD_ADDR = \"{nomad}\"\nNOMAD_TOKEN_SECRET = \"ssm:/{name}/nomad\"\n\
         CONSUL_HTTP_ADDR = \"{consul}\"\nCONSUL_HTTP_TOKEN_SECRET = \"ssm:/{name}/consul\"\n"
    )
}
