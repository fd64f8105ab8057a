//! Two clusters in one account: two sandboxes behind one AWS, and the settings document for both.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{CONSUL_TOKEN, NOMAD_TOKEN, Options, Sandbox, serve, tokens};
use crate::wire::{self, Server, Side, aws};

/// The token that green's Nomad accepts.
const GREEN_NOMAD_TOKEN: &str = "0c0c0c0c-0000-4000-8000-00000000dec0";
/// The token that green's Consul accepts.
const GREEN_CONSUL_TOKEN: &str = "0d0d0d0d-0000-4000-8000-00000000dec0";

/// Two clusters, blue and green. Each has its own Auto Scaling group and its own tokens, which the other cluster rejects.
pub struct TwoClusters {
    /// The first cluster, with the group `web`. Its stores have the parameters, secrets and queues of the account.
    pub blue: Sandbox,
    /// The second cluster, with the group `shop`.
    pub green: Sandbox,
    /// The AWS of both clusters.
    pub aws: Server,
}

impl TwoClusters {
    /// Serves two clusters with the same options.
    ///
    /// # Errors
    /// It cannot listen on loopback.
    pub async fn serve(options: &Options) -> io::Result<Self> {
        let blue = serve(&Options { acls: true, ..options.clone() }).await?;
        let green =
            Options { acls: true, asg: "shop".into(), first: options.first + 1_000, seed: options.seed + 1, ..options.clone() };
        let green = serve(&green).await?;
        green.shared.set_tokens(tokens(GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN));
        store_tokens(&blue, "blue", NOMAD_TOKEN, CONSUL_TOKEN);
        store_tokens(&blue, "green", GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN);
        let both = vec![Arc::clone(&blue.shared), Arc::clone(&green.shared)];
        let free = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let aws = wire::serve(&blue.shared, Side::Aws, aws::joint::router(both), free).await?;
        Ok(Self { blue, green, aws })
    }

    /// decamp's settings document with the tables of both clusters.
    #[must_use]
    pub fn document(&self) -> String {
        [("blue", &self.blue), ("green", &self.green)].map(|(name, sandbox)| table(name, sandbox)).concat()
    }

    /// The tokens of both clusters, which must never be printed.
    #[must_use]
    pub fn tokens(&self) -> [&'static str; 4] {
        [NOMAD_TOKEN, CONSUL_TOKEN, GREEN_NOMAD_TOKEN, GREEN_CONSUL_TOKEN]
    }
}

/// Stores the tokens of a cluster in the parameters that its table names.
fn store_tokens(account: &Sandbox, name: &str, nomad: &str, consul: &str) {
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
