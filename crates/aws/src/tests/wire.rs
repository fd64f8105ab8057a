//! A server on loopback whose answers a test defines byte by byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::aws::{Aws, Keys};
use decamp_config as settings;
use decamp_core::decide::{Cause, Departure, LifecycleAction};
use decamp_core::ids::{InstanceId, TargetGroupArn};

/// A request to the server: the fields of its form.
#[derive(Debug, Clone, Default)]
pub(super) struct Call(pub(super) HashMap<String, String>);

impl Call {
    pub(super) fn action(&self) -> &str {
        self.field("Action")
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// `NAME.member.1`, `NAME.member.2`, …
    pub(super) fn members(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.0.get(&format!("{name}.member.{n}")).map(String::as_str)).collect()
    }
}

/// The bytes of an answer. The connection is closed after them.
pub(super) struct Answer(pub(super) Vec<u8>);

impl Answer {
    /// A status with any body.
    pub(super) fn with(status: u16, kind: &str, body: &str) -> Self {
        let length = body.len();
        Self(
            format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .into(),
        )
    }

    /// A result, as AWS wraps it.
    pub(super) fn result(action: &str, result: &str) -> Self {
        Self::with(200, "text/xml", &whole(action, result))
    }

    /// An error, as AWS wraps it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::with(status, "text/xml", &format!("<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"))
    }
}

/// The complete document of a result.
pub(super) fn whole(action: &str, result: &str) -> String {
    let end = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>";
    format!("<{action}Response><{action}Result>{result}</{action}Result>{end}</{action}Response>")
}

/// A running server and its recorded requests.
pub(super) struct Server {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Call>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server that answers each call with `answer`.
    pub(super) async fn start(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, log, whole) = (Arc::new(answer), Arc::clone(&asked), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, whole) = (Arc::clone(&answer), Arc::clone(&log), Arc::clone(&whole));
                tokio::spawn(async move {
                    let _ = serve(stream, &*answer, &log, &whole).await;
                });
            }
        });
        Self { address, asked, heads }
    }

    pub(super) fn asked(&self, action: &str) -> Vec<Call> {
        self.asked.lock().expect("unpoisoned").iter().filter(|call| call.action() == action).cloned().collect()
    }

    /// Every request as received, head and body.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("unpoisoned").clone()
    }

    pub(super) fn count(&self) -> usize {
        self.asked.lock().expect("unpoisoned").len()
    }

    /// A configuration that calls this server instead of AWS.
    pub(super) async fn aws(&self) -> Aws {
        let settings = settings::Aws {
            region: Some("eu-west-1".to_owned()),
            endpoint: Some(self.address.clone()),
            ..settings::Aws::default()
        };
        let keys = Keys { id: "AKIDEXAMPLE".to_owned(), secret: "secret-canary".to_owned() };
        let mut aws = Aws::load(&settings, Some(keys)).await;
        aws.backoff = Duration::from_millis(1);
        aws
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Call) -> Answer + Send + Sync),
    log: &Mutex<Vec<Call>>,
    whole: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    let body = loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if length <= body.len() {
                whole.lock().expect("unpoisoned").push(text.clone());
                break body.to_owned();
            }
        }
        let mut chunk = [0; 8192];
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            n => read.extend_from_slice(&chunk[..n]),
        }
    };
    let fields = body.split('&').filter_map(|field| field.split_once('='));
    let call = Call(fields.map(|(name, value)| (plain(name), plain(value))).collect());
    log.lock().expect("unpoisoned").push(call.clone());
    stream.write_all(&answer(&call).0).await?;
    stream.shutdown().await
}

/// Undoes a form's escapes.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).expect("ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

pub(super) fn instance(n: u64) -> InstanceId {
    InstanceId::from_number(n)
}

pub(super) fn group(name: &str) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef").parse().expect("an ARN")
}

/// One row of DescribeTargetHealth.
pub(super) fn health(id: &str, port: u16, state: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!("<Reason>{reason}</Reason>") };
    let target = format!("<Target><Id>{id}</Id><Port>{port}</Port></Target>");
    format!("<member>{target}<TargetHealth><State>{state}</State>{reason}</TargetHealth></member>")
}

/// One row of DescribeAutoScalingInstances.
pub(super) fn row(id: &str, asg: &str, state: &str) -> String {
    let zone = "<AvailabilityZone>eu-west-1a</AvailabilityZone><HealthStatus>HEALTHY</HealthStatus>";
    let group = format!("<AutoScalingGroupName>{asg}</AutoScalingGroupName><LifecycleState>{state}</LifecycleState>");
    format!("<member><InstanceId>{id}</InstanceId>{group}{zone}<ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>")
}

/// The departure of an instance of the group `web`.
pub(super) fn departure(n: u64) -> Departure {
    Departure { instance: instance(n), asg: "web".into(), cause: Cause::Lifecycle(LifecycleAction::default()) }
}

/// Answers for groups named `web-…` (HTTP, 20 s) and `tcp-…` (TCP, 90 s). All others do not exist.
pub(super) fn some_groups(call: &Call) -> Answer {
    let arns = call.members("TargetGroupArns");
    let named = if arns.is_empty() { vec![call.field("TargetGroupArn")] } else { arns };
    let known = |arn: &&str| arn.contains("targetgroup/web-") || arn.contains("targetgroup/tcp-");
    if !named.iter().all(known) {
        return Answer::error(400, "TargetGroupNotFound", "One or more target groups not found");
    }
    let tcp = |arn: &str| arn.contains("targetgroup/tcp-");
    let result = match call.action() {
        "DescribeTargetGroups" => {
            let row = |arn: &&str| {
                let protocol = if tcp(arn) { "TCP" } else { "HTTP" };
                format!("<member><TargetGroupArn>{arn}</TargetGroupArn><Protocol>{protocol}</Protocol></member>")
            };
            format!("<TargetGroups>{}</TargetGroups>", named.iter().map(row).collect::<String>())
        }
        "DescribeTargetGroupAttributes" => {
            let delay = if tcp(named[0]) { 90 } else { 20 };
            let key = "<Key>deregistration_delay.timeout_seconds</Key>";
            let own = tcp(named[0])
                .then_some("<member><Key>deregistration_delay.connection_termination.enabled</Key><Value>true</Value></member>");
            let own = own.unwrap_or_default();
            format!("<Attributes><member>{key}<Value>{delay}</Value></member>{own}</Attributes>")
        }
        "DescribeTargetHealth" => {
            let rows = [
                health(&instance(1).to_string(), 8080, "healthy", ""),
                health(&instance(1).to_string(), 8443, "draining", "Target.DeregistrationInProgress"),
                health("10.0.0.7", 9000, "unused", "Target.NotInUse"),
            ];
            format!("<TargetHealthDescriptions>{}</TargetHealthDescriptions>", rows.concat())
        }
        _ => String::new(),
    };
    Answer::result(call.action(), &result)
}
