//! As much of an API server, a deployment controller, a kubelet and a service proxy as rollouts need.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What callers must know.
pub const TOKEN: &str = "a-token-of-a-test";

pub type Shared = Arc<Cluster>;

/// A cluster.
pub struct Cluster {
    pub api: SocketAddr,
    /// The port at which all pods listen.
    pub port: u16,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    deployments: BTreeMap<String, Value>,
    pods: BTreeMap<String, Value>,
    services: BTreeMap<String, Value>,
    /// Who serves a pod; it ends with the pod.
    servers: BTreeMap<String, tokio::task::JoinHandle<()>>,
    next: u32,
}

fn is_app(pod: &Value, name: &str) -> bool {
    pod["metadata"]["labels"]["app"] == name
}

impl Inner {
    /// The next address of a network that is all loopback.
    fn address(&mut self, network: u8) -> IpAddr {
        self.next += 1;
        let [_, _, c, d] = self.next.to_be_bytes();
        Ipv4Addr::new(127, network, c, d).into()
    }

    fn end_pod(&mut self, pod: &str) -> Option<Value> {
        let taken = self.pods.remove(pod)?;
        if let Some(server) = self.servers.remove(pod) {
            server.abort();
        }
        Some(taken)
    }

    /// What a Deployment's status says, of the pods as they are at this moment.
    fn report(&mut self, name: &str) {
        let is_ready = |pod: &&Value| pod["status"]["conditions"][0]["status"] == "True";
        let pods = self.pods.values().filter(|pod| is_app(pod, name));
        let (all, ready) = (pods.clone().count(), pods.filter(is_ready).count());
        let Some(deployment) = self.deployments.get_mut(name) else {
            return;
        };
        let generation = deployment["metadata"]["generation"].clone();
        deployment["status"] = json!({
            "observedGeneration": generation, "replicas": all, "updatedReplicas": all,
            "availableReplicas": ready, "readyReplicas": ready,
            "conditions": deployment["status"]["conditions"],
        });
    }
}

type Refused = (StatusCode, Json<Value>);

fn status(code: StatusCode, reason: &str, message: String) -> Refused {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, Json(body))
}

fn known(headers: &HeaderMap) -> Result<(), Refused> {
    let given = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    match given == Some(&format!("Bearer {TOKEN}")) {
        true => Ok(()),
        false => Err(status(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Unauthorized".into(),
        )),
    }
}

/// A strategic merge patch, as far as containers go: members of `containers` are merged by their names.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match (into.get_mut(key), value) {
                    (_, Value::Null) => drop(into.remove(key)),
                    (Some(Value::Array(old)), Value::Array(new)) if key == "containers" => {
                        for one in new {
                            match old.iter_mut().find(|other| other["name"] == one["name"]) {
                                Some(other) => merge(other, one),
                                None => old.push(one.clone()),
                            }
                        }
                    }
                    (Some(old), new) => merge(old, new),
                    (None, new) => drop(into.insert(key.clone(), new.clone())),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

impl Cluster {
    /// Starts one with a Deployment and a Service of each of these names, which run nothing.
    pub async fn start(names: &[&str]) -> Shared {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // All loopback addresses have it, as far as nobody has taken it there.
        let port = everopen_testkit::free_address().port();
        let cluster = Arc::new(Self {
            api: listener.local_addr().expect("an address"),
            port,
            inner: Mutex::default(),
        });
        for name in names {
            let address = cluster.inner().address(78);
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "namespace": "shop", "generation": 1 },
                "spec": {
                    "replicas": 0,
                    "selector": { "matchLabels": { "app": name } },
                    "template": {
                        "metadata": { "labels": { "app": name } },
                        "spec": { "containers": [
                            { "name": "greeter", "image": "greeter:0" },
                            { "name": "beside", "image": "beside:1" },
                        ] },
                    },
                },
                "status": { "observedGeneration": 1 },
            });
            let service = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": name, "namespace": "shop" },
                "spec": {
                    "clusterIP": address.to_string(),
                    "selector": { "app": name },
                    "ports": [{ "port": port, "targetPort": port }],
                },
            });
            {
                let mut inner = cluster.inner();
                inner.deployments.insert(name.to_string(), deployment);
                inner.services.insert(name.to_string(), service);
            }
            let proxy = TcpListener::bind((address, port))
                .await
                .expect("a service's address");
            tokio::spawn(balance(Arc::clone(&cluster), name.to_string(), proxy));
        }
        let routes = Router::new()
            .route(
                "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
                get(get_deployment).patch(patch_deployment),
            )
            .route("/api/v1/namespaces/{namespace}/pods", get(list_pods))
            .route(
                "/api/v1/namespaces/{namespace}/pods/{name}",
                axum::routing::delete(delete_pod),
            )
            .route(
                "/api/v1/namespaces/{namespace}/services/{name}",
                get(get_service),
            )
            .with_state(Arc::clone(&cluster));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        cluster
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whole")
    }

    pub fn deployment(&self, name: &str) -> Value {
        self.inner().deployments[name].clone()
    }

    /// Pods of a Deployment that are there.
    pub fn pods(&self, name: &str) -> Vec<Value> {
        let inner = self.inner();
        let all = inner.pods.values();
        all.filter(|pod| is_app(pod, name)).cloned().collect()
    }

    /// Takes a pod away; its Deployment's controller makes another.
    fn take_away(self: &Arc<Self>, pod: &str) -> Option<Value> {
        let (taken, app) = {
            let mut inner = self.inner();
            let taken = inner.end_pod(pod)?;
            let app = taken["metadata"]["labels"]["app"].as_str()?.to_string();
            (taken, app)
        };
        self.reconcile(&app);
        Some(taken)
    }

    /// What a deployment controller does: as many pods of the template as wanted, and no others.
    fn reconcile(self: &Arc<Self>, name: &str) {
        // One at a time and at one moment: what another has read before must not be written after it.
        let mut inner = self.inner();
        let deployment = inner.deployments[name].clone();
        let template = &deployment["spec"]["template"];
        let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(0) as usize;
        let is_current = |pod: &Value| {
            pod["spec"] == template["spec"]
                && pod["metadata"]["annotations"] == template["metadata"]["annotations"]
        };
        let of = inner.pods.iter().filter(|(_, pod)| is_app(pod, name));
        let (kept, mut old): (Vec<_>, Vec<_>) = of.partition(|(_, pod)| is_current(pod));
        let missing = wanted.saturating_sub(kept.len());
        old.extend(kept.into_iter().skip(wanted));
        let old: Vec<String> = old.into_iter().map(|(id, _)| id.clone()).collect();
        for pod in &old {
            inner.end_pod(pod);
        }
        for _ in 0..missing {
            self.make_pod(&mut inner, name, template);
        }
        inner.report(name);
    }

    fn make_pod(self: &Arc<Self>, inner: &mut Inner, name: &str, template: &Value) {
        let address = inner.address(77);
        let id = format!("{name}-{address}");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": id, "namespace": "shop",
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
            },
            "spec": template["spec"],
            "status": {
                "podIP": address.to_string(),
                "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }],
                "containerStatuses": [],
            },
        });
        let image = template["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default();
        let version = image.split(':').nth(1).unwrap_or_default().to_string();
        inner.pods.insert(id.clone(), pod);
        let cluster = Arc::clone(self);
        let pod = id.clone();
        let server = tokio::spawn(async move { cluster.run(&pod, address, &version).await });
        inner.servers.insert(id, server);
    }

    /// What a kubelet does with a pod; the image's tag says what its program is like.
    async fn run(self: Arc<Self>, pod: &str, address: IpAddr, version: &str) {
        let container = |state: Value, restarts: u32, last: Value| {
            json!([{
                "name": "greeter", "image": "greeter", "imageID": "", "ready": true,
                "restartCount": restarts, "state": state, "lastState": last,
            }])
        };
        let set = |statuses: Value, is_ready: bool| {
            let mut inner = self.inner();
            let Some(pod) = inner.pods.get_mut(pod) else {
                return;
            };
            pod["status"]["containerStatuses"] = statuses;
            let ready = if is_ready { "True" } else { "False" };
            pod["status"]["conditions"] = json!([{ "type": "Ready", "status": ready }]);
            let app = pod["metadata"]["labels"]["app"]
                .as_str()
                .unwrap_or_default()
                .to_string();
            inner.report(&app);
        };
        if version.starts_with("absent") {
            let waiting =
                json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
            return set(container(waiting, 0, json!({})), false);
        }
        let listener = TcpListener::bind((address, self.port))
            .await
            .expect("a pod's address");
        let said = version.to_string();
        let greetings = Arc::new(Semaphore::new(0));
        let greeted = Arc::clone(&greetings);
        let greet = move || {
            greeted.add_permits(1);
            let version = said.clone();
            async move { Json(json!({ "version": version })) }
        };
        let routes = Router::new()
            .route("/", get(greet))
            .route("/health", get(|| async { "well" }));
        let serve = tokio::spawn(async move { axum::serve(listener, routes).await });
        let running = json!({ "running": {} });
        set(container(running.clone(), 0, json!({})), true);
        if version.starts_with("crash") {
            // While it has traffic: after more greetings than a journey makes.
            let many = greetings.acquire_many(5).await;
            many.expect("it is never closed").forget();
            let last = json!({ "terminated": { "exitCode": 7, "reason": "Error" } });
            set(container(running, 1, last), true);
        }
        let _ended = AbortOnDrop(serve);
        std::future::pending::<()>().await;
    }

    /// The deployment controller gives up.
    pub fn give_up(&self, name: &str) {
        let mut inner = self.inner();
        let deployment = inner.deployments.get_mut(name).expect("it is there");
        deployment["status"]["conditions"] = json!([{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "has timed out progressing.", "lastTransitionTime": null, "lastUpdateTime": null,
        }]);
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a service proxy does.
async fn balance(cluster: Shared, name: String, listener: TcpListener) {
    let mut next = 0_usize;
    while let Ok((mut client, _)) = listener.accept().await {
        let ready: Vec<Value> = cluster
            .pods(&name)
            .into_iter()
            .filter(|pod| pod["status"]["conditions"][0]["status"] == "True")
            .collect();
        next += 1;
        let Some(pod) = ready.get(next % ready.len().max(1)) else {
            continue;
        };
        let address = pod["status"]["podIP"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let port = cluster.port;
        tokio::spawn(async move {
            let Ok(mut pod) = TcpStream::connect((address.as_str(), port)).await else {
                return;
            };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
        });
    }
}

fn not_found(kind: &str, name: &str) -> Refused {
    status(
        StatusCode::NOT_FOUND,
        "NotFound",
        format!("{kind} \"{name}\" not found"),
    )
}

async fn get_deployment(
    State(cluster): State<Shared>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    known(&headers)?;
    let found = cluster.inner().deployments.get(&name).cloned();
    let found = found.filter(|_| namespace == "shop");
    found
        .map(Json)
        .ok_or_else(|| not_found("deployments.apps", &name))
}

async fn patch_deployment(
    State(cluster): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, Refused> {
    known(&headers)?;
    let kind = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default();
    let bad = |why: &str| {
        status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            why.into(),
        )
    };
    if ![
        "application/strategic-merge-patch+json",
        "application/merge-patch+json",
    ]
    .contains(&kind)
    {
        return Err(bad(kind));
    }
    if query.get("fieldManager").map(String::as_str) != Some("everopen") {
        return Err(bad("no field manager"));
    }
    let patch: Value = serde_json::from_str(&body).map_err(|error| bad(&error.to_string()))?;
    {
        let mut inner = cluster.inner();
        let deployment = inner.deployments.get_mut(&name);
        let deployment = deployment.ok_or_else(|| not_found("deployments.apps", &name))?;
        let before = deployment["spec"].clone();
        merge(deployment, &patch);
        if deployment["spec"] != before {
            let generation = deployment["metadata"]["generation"].as_u64().unwrap_or(0);
            deployment["metadata"]["generation"] = json!(generation + 1);
            // It is seen a moment later, and what was given up before is not any more.
            deployment["status"]["conditions"] = json!([]);
        }
    }
    let seen = Arc::clone(&cluster);
    let changed = name.clone();
    // Not within the answer, as a controller of its own would.
    tokio::spawn(async move { seen.reconcile(&changed) });
    Ok(Json(cluster.deployment(&name)))
}

async fn list_pods(
    State(cluster): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    known(&headers)?;
    let selector = query.get("labelSelector").cloned().unwrap_or_default();
    let app = selector.strip_prefix("app=").unwrap_or_default();
    let items = cluster.pods(app);
    Ok(Json(
        json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items }),
    ))
}

async fn delete_pod(
    State(cluster): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    known(&headers)?;
    cluster
        .take_away(&name)
        .map(Json)
        .ok_or_else(|| not_found("pods", &name))
}

async fn get_service(
    State(cluster): State<Shared>,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    known(&headers)?;
    let found = cluster.inner().services.get(&name).cloned();
    found.map(Json).ok_or_else(|| not_found("services", &name))
}
