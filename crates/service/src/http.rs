//! The two listeners: webhooks take events in and nothing else, admin shows what is so (ADR 0026).

mod admin;
mod arrival;
mod bodies;
mod body;
mod certificates;
mod connection;
mod crowd;
mod door;
mod events;
mod forwarded;
mod guard;
mod keys;
mod open_files;
mod openapi;
mod page;
mod problem;
mod rate_limit;
mod refreshes;
mod sns;
mod stream;
mod subnet;
mod terraform;
mod tls;
mod visit;
mod webhooks;

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::join;
use tokio::net::TcpListener;

use self::certificates::Certificates;
use self::door::Door;
use self::keys::Keys;
pub use self::openapi::api_document;
use super::Service;
use decamp_config::Serve;

/// Checks the files that both listeners need: certificates, and who is believed for SNS's.
///
/// # Errors
///
/// One of them cannot be used.
pub(super) fn check_files(serve: &Serve) -> Result<()> {
    for (certificate, key) in [&serve.webhooks, &serve.admin].into_iter().filter_map(|listen| listen.tls.as_ref()) {
        tls::Certificate::read(certificate, key)?;
    }
    sns::anchors(serve).map(drop)
}

/// The two listeners of a service.
pub(super) struct Doors {
    webhooks: Door,
    admin: Door,
    certificates: Arc<Certificates>,
}

impl Doors {
    /// Makes both; connections wait until they are served.
    ///
    /// # Errors
    ///
    /// A certificate or key cannot be used.
    pub(super) fn open(service: &Arc<Service>, webhooks: TcpListener, admin: TcpListener) -> Result<Self> {
        let serve = &service.settings.serve;
        // One for the guard and for the page: a session is sealed with what the other believes.
        let token = Keys::new("the admin token", &serve.admin_token, service);
        let keys = Keys::new("the events' key", &serve.events_key, service);
        let certificates = Certificates::new(service, sns::anchors(serve)?);
        let events = guard::before(
            events::router(service)
                .merge(sns::router(service, &certificates))
                .merge(webhooks::router(service))
                .merge(terraform::router(service)),
            service,
            "webhooks",
            &keys,
            None,
        );
        let shows = guard::before(admin::router(service, &token), service, "admin", &keys, Some(token));
        let most = open_files::most_connections();
        Ok(Self {
            webhooks: Door::new("webhooks", webhooks, most, events, serve.webhooks.tls.as_ref(), service)?,
            admin: Door::new("admin", admin, most, shows, serve.admin.tls.as_ref(), service)?,
            certificates,
        })
    }

    /// Serves until the service stops, then finishes what is being answered.
    pub(super) async fn serve(self) {
        tokio::select! {
            _ = join(self.webhooks.serve(), self.admin.serve()) => {}
            () = self.certificates.preloading() => {}
        }
    }
}
