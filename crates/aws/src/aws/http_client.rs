//! The SDK's HTTP client: it uses the proxy of the settings, and bounds the size of answers.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use decamp_config::Proxy;

/// The most idle connections that are kept. A thousand departures may call at once, and each connection takes some 30 KiB.
const MOST_IDLE: usize = 16;

/// The most bytes of one answer. A page of groups with ten thousand instances takes a seventh of it.
pub(crate) const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

/// The addresses of the credentials of an instance or a task. They are link-local, so no proxy can reach them.
const CREDENTIALS: &str = "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// The hosts that are never called through the proxy: those in the settings, and the addresses of credentials.
pub(crate) fn no_proxy(proxy: &Proxy) -> String {
    if proxy.except.is_empty() { CREDENTIALS.to_owned() } else { format!("{CREDENTIALS},{}", proxy.except) }
}

/// The client for all calls of the SDK, including those for credentials. The settings have rejected an invalid address of a proxy.
pub(super) fn client(proxy: Option<&Proxy>) -> SharedHttpClient {
    let proxy = proxy.and_then(|proxy| Some(ProxyConfig::all(proxy.url.as_str()).ok()?.no_proxy(no_proxy(proxy))));
    let connect = move |settings: Option<&HttpConnectorSettings>, components: Option<&RuntimeComponents>| {
        let mut builder = Connector::builder().pool_max_idle_per_host(MOST_IDLE);
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.set_proxy_config(proxy.clone());
        builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    };
    SharedHttpClient::new(Bounded(Builder::new().build_with_connector_fn(connect)))
}

/// A client that cuts off too large answers: a peer that never stops sending must not fill the memory.
#[derive(Debug)]
struct Bounded(SharedHttpClient);

impl HttpClient for Bounded {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedConnector(self.0.http_connector(settings, components)))
    }
}

#[derive(Debug)]
struct BoundedConnector(SharedHttpConnector);

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
            *answer.body_mut() = SdkBody::from_body_1_x(http_body_util::Limited::new(body, LARGEST_ANSWER));
            Ok(answer)
        })
    }
}
