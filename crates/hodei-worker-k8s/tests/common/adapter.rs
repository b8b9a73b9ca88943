//! Metrics that a test makes up, served to autoscalers by the test's own process.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Debug,
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use hodei_worker_core::clock::{Clock as _, SystemClock};
use http::{Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, PostParams},
    config::Kubeconfig,
    runtime::wait::await_condition,
};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex as Turn, MutexGuard as MyTurn},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{admin, limit, variable};

const NAMESPACE: &str = "default";
/// The Service, and its endpoints. A cluster has each API once, so this too needs no name of its own per process.
const NAME: &str = "hodei-test-metrics";
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// What autoscalers ask for, the newest that they know of each.
const SERVED: [(&str, &str); 2] = [(CUSTOM, "v1beta2"), (EXTERNAL, "v1beta1")];

/// Tests of one process that run at once would take each other's APIs away.
static TURN: Turn<()> = Turn::const_new(());

/// Serves the custom and the external metrics of the cluster.
pub(crate) struct Adapter {
    metrics: Arc<Metrics>,
    server: JoinHandle<()>,
    registered: bool,
    // The last: others begin when all else is gone.
    _turn: MyTurn<'static, ()>,
}

impl Adapter {
    /// Serves, registers both APIs and waits until the API server says they are available.
    pub(crate) async fn start(admin: Client) -> Self {
        let turn = TURN.lock().await;
        let listener = TcpListener::bind((address_towards_the_cluster(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics {
            admin: admin.clone(),
            each_pod: Mutex::default(),
            external: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, encryption(), Arc::clone(&metrics)));
        // From here on it is taken away whatever fails.
        let adapter = Self { metrics, server, registered: true, _turn: turn };
        // By a process that was killed.
        unregister(&admin).await;
        register(&admin, address).await;
        adapter
    }

    /// Every pod that is asked about has that value of the metric.
    pub(crate) fn each_pod(&self, metric: &str, value: i64) {
        self.metrics.each_pod.lock().unwrap().insert(metric.to_owned(), value);
    }

    /// The value of a metric that belongs to no object of the cluster.
    pub(crate) fn external(&self, metric: &str, value: i64) {
        self.metrics.external.lock().unwrap().insert(metric.to_owned(), value);
    }

    /// Takes the APIs, Service and endpoints away again and ends the server.
    pub(crate) async fn remove(mut self) {
        unregister(&self.metrics.admin).await;
        self.registered = false;
    }
}

impl Drop for Adapter {
    /// While an API stays registered that nobody serves, the cluster can neither end namespaces nor collect garbage.
    fn drop(&mut self) {
        if self.registered {
            // The test's own runtime may be the one that is held up here, and its client needs it.
            let removal = std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(limit(async { unregister(&admin().await).await }));
            });
            // Its panic is printed; a second one during another's would end the process.
            removal.join().ok();
        }
        self.server.abort();
    }
}

/// Where the API server finds this process.
fn address_towards_the_cluster() -> IpAddr {
    let theirs = Kubeconfig::read_from(variable("HODEI_TEST_KUBECONFIG")).unwrap();
    let server = theirs.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    let server: Uri = server.parse().unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing, but chooses the way.
    socket.connect((server.host().unwrap(), server.port_u16().unwrap_or(443))).unwrap();
    socket.local_addr().unwrap().ip()
}

/// With a certificate that nobody checks.
fn encryption() -> TlsAcceptor {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", &format!("/CN={NAME}.{NAMESPACE}.svc"), "-keyout", "-", "-out", "-"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let certificate = CertificateDer::from_pem_slice(&made.stdout).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&made.stdout).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()))
}

async fn create<K>(all: &Api<K>, manifest: Value)
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    all.create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
}

async fn delete<K>(all: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    match all.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => drop(other.unwrap()),
    }
}

async fn register(admin: &Client, address: SocketAddr) {
    let services: Api<Service> = Api::namespaced(admin.clone(), NAMESPACE);
    let slices: Api<EndpointSlice> = Api::namespaced(admin.clone(), NAMESPACE);
    let apis: Api<APIService> = Api::all(admin.clone());
    let service = json!({
        "metadata": { "name": NAME },
        "spec": { "ports": [{ "port": 443, "targetPort": address.port() }] },
    });
    create(&services, service).await;
    let slice = json!({
        "metadata": { "name": NAME, "labels": { "kubernetes.io/service-name": NAME } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": address.port(), "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address.ip().to_string()], "conditions": { "ready": true } }],
    });
    create(&slices, slice).await;
    for (group, version) in SERVED {
        let api = json!({
            "metadata": { "name": format!("{version}.{group}") },
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": { "name": NAME, "namespace": NAMESPACE },
                "insecureSkipTLSVerify": true,
            },
        });
        create(&apis, api).await;
    }
    for (group, version) in SERVED {
        let name = format!("{version}.{group}");
        limit(Box::pin(await_condition(apis.clone(), &name, is_available))).await.unwrap();
    }
}

fn is_available(api: Option<&APIService>) -> bool {
    let conditions = api.and_then(|api| api.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Available" && one.status == "True"))
}

async fn unregister(admin: &Client) {
    // The APIs first: these are what harms while nobody serves them.
    for (group, version) in SERVED {
        delete::<APIService>(&Api::all(admin.clone()), &format!("{version}.{group}")).await;
    }
    delete::<EndpointSlice>(&Api::namespaced(admin.clone(), NAMESPACE), NAME).await;
    delete::<Service>(&Api::namespaced(admin.clone(), NAMESPACE), NAME).await;
}

/// Ends its connections when it is ended.
async fn serve(listener: TcpListener, encryption: TlsAcceptor, metrics: Arc<Metrics>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(stream, encryption.clone(), Arc::clone(&metrics)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whoever breaks off asks again.
async fn converse(stream: TcpStream, encryption: TlsAcceptor, metrics: Arc<Metrics>) {
    let Ok(stream) = encryption.accept(stream).await else { return };
    let answers = service_fn(|request| {
        let metrics = Arc::clone(&metrics);
        async move { Ok::<_, Infallible>(answer(&metrics, &request).await) }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), answers).await.ok();
}

async fn answer<B>(metrics: &Metrics, request: &Request<B>) -> Response<Full<Bytes>> {
    // The API server has checked who asks, and what it may.
    let found = metrics.find(request.uri()).await;
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let body = found.unwrap_or_else(|| {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "code": status.as_u16(), "message": format!("the test serves no {}", request.uri().path()),
        })
    });
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    response.body(Full::from(body.to_string())).unwrap()
}

/// What the test has made up.
struct Metrics {
    admin: Client,
    each_pod: Mutex<HashMap<String, i64>>,
    external: Mutex<HashMap<String, i64>>,
}

impl Metrics {
    async fn find(&self, uri: &Uri) -> Option<Value> {
        let path: Vec<_> = uri.path().trim_start_matches('/').split('/').collect();
        let ["apis", group, version, within @ ..] = path.as_slice() else { return None };
        if !SERVED.contains(&(group, version)) {
            return None;
        }
        match (*group, within) {
            (_, []) => Some(resources(group, version)),
            (CUSTOM, ["namespaces", namespace, "pods", "*" | "%2A", metric]) => {
                self.of_pods(namespace, metric, uri.query().unwrap_or_default()).await
            }
            (EXTERNAL, ["namespaces", _, metric]) => self.of_no_object(metric),
            _ => None,
        }
    }

    async fn of_pods(&self, namespace: &str, metric: &str, query: &str) -> Option<Value> {
        let value = *self.each_pod.lock().unwrap().get(metric)?;
        let selected = ListParams::default().labels(&parameter(query, "labelSelector")?);
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), namespace);
        let pods = pods.list(&selected).await.ok()?;
        // One that does not run yet measures nothing.
        let running =
            pods.iter().filter(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"));
        let items = running.map(|pod| {
            json!({
                "describedObject": {
                    "kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": pod.metadata.name,
                },
                "metric": { "name": metric }, "timestamp": now(), "value": value.to_string(),
            })
        });
        Some(list("MetricValueList", CUSTOM, items.collect()))
    }

    fn of_no_object(&self, metric: &str) -> Option<Value> {
        let value = *self.external.lock().unwrap().get(metric)?;
        let item = json!({
            "metricName": metric, "metricLabels": {}, "timestamp": now(), "value": value.to_string(),
        });
        Some(list("ExternalMetricValueList", EXTERNAL, vec![item]))
    }
}

fn now() -> String {
    SystemClock.now().to_string()
}

fn list(kind: &str, wanted: &str, items: Vec<Value>) -> Value {
    let version = SERVED.iter().find(|(group, _)| *group == wanted).map(|(_, version)| *version);
    json!({ "kind": kind, "apiVersion": format!("{wanted}/{}", version.unwrap()), "metadata": {}, "items": items })
}

/// That the version is served is all that is looked for: metrics are asked for by name.
fn resources(group: &str, version: &str) -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/{version}"), "resources": [],
    })
}

/// A parameter of a query, without its escapes.
fn parameter(query: &str, wanted: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='))?;
    let mut parts = value.split('%');
    let mut plain = parts.next()?.replace('+', " ");
    for part in parts {
        // Selectors are of ASCII.
        plain.push(u8::from_str_radix(part.get(..2)?, 16).ok()?.into());
        plain.push_str(&part[2..].replace('+', " "));
    }
    Some(plain)
}
