//! The two listeners: webhooks accepts events, admin has the page, the API and the metrics (ADR 0026).

mod admin;
mod body;
mod body_memory;
mod connection;
mod connection_limit;
mod events;
mod first_head;
mod forwarded;
mod in_flight;
mod keys;
mod listener;
mod middleware;
mod open_files;
mod openapi;
mod page;
mod problem;
mod rate_limit;
mod refreshes;
mod sns;
mod sns_certificates;
mod stream;
mod subnet;
mod terraform;
mod tls;
mod webhooks;

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::join;
use tokio::net::TcpListener;

use self::keys::Keys;
use self::listener::Listener;
pub use self::openapi::api_document;
use self::sns_certificates::SnsCertificates;
use super::Service;
use decamp_config::Serve;

/// Checks the files that the listeners need: certificates, and the authorities for SNS's certificates.
///
/// # Errors
///
/// One of them is unusable.
pub(super) fn check_files(serve: &Serve) -> Result<()> {
    for (certificate, key) in [&serve.webhooks, &serve.admin].into_iter().filter_map(|listen| listen.tls.as_ref()) {
        tls::ServerCertificate::read(certificate, key)?;
    }
    sns::anchors(serve).map(drop)
}

/// The two listeners of a service.
pub(super) struct Listeners {
    webhooks: Listener,
    admin: Listener,
    certificates: Arc<SnsCertificates>,
}

impl Listeners {
    /// Creates both. Connections wait in the kernel until `serve` runs.
    ///
    /// # Errors
    ///
    /// A certificate or key is unusable.
    pub(super) fn open(service: &Arc<Service>, webhooks: TcpListener, admin: TcpListener) -> Result<Self> {
        let serve = &service.settings.serve;
        // The middleware and the page share one: the page seals sessions with the token, and the middleware opens them.
        let token = Keys::new("the admin token", &serve.admin_token, service);
        let keys = Keys::new("the events' key", &serve.events_key, service);
        let certificates = SnsCertificates::new(service, sns::anchors(serve)?);
        let events = middleware::apply(
            events::router(service)
                .merge(sns::router(service, &certificates))
                .merge(webhooks::router(service))
                .merge(terraform::router(service)),
            service,
            "webhooks",
            &keys,
            None,
        );
        let admin_router = middleware::apply(admin::router(service, &token), service, "admin", &keys, Some(token));
        let most = open_files::most_connections();
        Ok(Self {
            webhooks: Listener::new("webhooks", webhooks, most, events, serve.webhooks.tls.as_ref(), service)?,
            admin: Listener::new("admin", admin, most, admin_router, serve.admin.tls.as_ref(), service)?,
            certificates,
        })
    }

    /// Serves until the service stops, then finishes the requests in progress.
    pub(super) async fn serve(self) {
        tokio::select! {
            _ = join(self.webhooks.serve(), self.admin.serve()) => {}
            () = self.certificates.keep_preloaded() => {}
        }
    }
}
