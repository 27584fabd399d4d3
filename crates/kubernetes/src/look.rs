//! What a Deployment, its pods and its Service say.

use std::net::{IpAddr, SocketAddr};

use everopen_rollout::cluster::{Seen, Set};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::ROLLOUT;

/// The rollout that an object is marked with.
pub(crate) fn rollout(of: &ObjectMeta) -> Option<&str> {
    of.annotations.as_ref()?.get(ROLLOUT).map(String::as_str)
}

/// Whether a pod belongs to a set, and is not being taken away.
pub(crate) fn is_of(pod: &Pod, set: &Set) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && rollout(&pod.metadata) == Some(set.rollout.as_str())
}

/// Whether a Deployment has that container: a patch would make one that is not there.
pub(crate) fn container(deployment: &Deployment, name: &str) -> Result<(), String> {
    let spec = deployment.spec.as_ref();
    let pod = spec.and_then(|spec| spec.template.spec.as_ref());
    let names: Vec<&str> = pod
        .into_iter()
        .flat_map(|pod| &pod.containers)
        .map(|container| container.name.as_str())
        .collect();
    match names.contains(&name) {
        true => Ok(()),
        false => Err(format!(
            "its deployment has no container {name:?}: it has {}",
            names.join(", ")
        )),
    }
}

/// Where a Service is reached that leads to this port of its pods.
pub(crate) fn address(service: &Service, port: u16) -> Result<SocketAddr, String> {
    let spec = service.spec.as_ref().ok_or("it has no spec")?;
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    let address: IpAddr = address.parse().map_err(|_| {
        format!("it has no cluster address ({address:?}): one that is headless can't be a target")
    })?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let leads = |number: &i32, to: &Option<IntOrString>| match to {
        Some(IntOrString::Int(to)) => *to == i32::from(port),
        // A name stands for the container's port.
        Some(IntOrString::String(_)) => ports.len() == 1,
        None => *number == i32::from(port),
    };
    let found = ports.iter().find(|one| leads(&one.port, &one.target_port));
    let found = found.ok_or_else(|| format!("none of its ports leads to {port}"))?;
    let number = u16::try_from(found.port).map_err(|_| "its port is none")?;
    Ok((address, number).into())
}

fn statuses(pod: &Pod) -> &[ContainerStatus] {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    containers.unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a container does not run, and whether it ran before.
fn trouble(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or("a pod");
    for container in statuses(pod) {
        let state = container.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("waits");
            let message = waiting.message.as_deref().unwrap_or_default();
            return Some(format!("{name}: {}: {reason}: {message}", container.name));
        }
        if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            let code = ended.exit_code;
            return Some(format!("{name}: {} has ended with {code}", container.name));
        }
    }
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let told = conditions.unwrap_or_default().iter();
    let mut told = told.filter(|condition| condition.status == "False");
    told.find_map(|condition| {
        let why = condition
            .message
            .as_deref()
            .or(condition.reason.as_deref())?;
        Some(format!("{name}: {}: {why}", condition.type_))
    })
}

/// A container that was started again since: what it was to do, it did not.
fn restarted(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or("a pod");
    let one = statuses(pod)
        .iter()
        .find(|container| container.restart_count > 0)?;
    let last = one
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let last = last.map_or_else(String::new, |last| {
        let reason = last.reason.as_deref().unwrap_or_default();
        format!(", last with {} {reason}", last.exit_code)
    });
    let count = one.restart_count;
    Some(format!(
        "{name}: {} has ended {count} times{last}",
        one.name
    ))
}

/// What the deployment controller has given up.
fn given_up(deployment: &Deployment) -> Option<String> {
    let status = deployment.status.as_ref()?;
    let is_current = status.observed_generation >= deployment.metadata.generation;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions
        .iter()
        .filter(|_| is_current)
        .find(|condition| {
            let is_over = condition.type_ == "Progressing" && condition.status == "False";
            let is_failed = condition.type_ == "ReplicaFailure" && condition.status == "True";
            is_over || is_failed
        })
        .map(|condition| {
            let reason = condition.reason.as_deref().unwrap_or("it has failed");
            let message = condition.message.as_deref().unwrap_or_default();
            format!("{reason}: {message}")
        })
}

/// All of it.
pub(crate) fn seen(set: &Set, deployment: &Deployment, pods: &[Pod], service: SocketAddr) -> Seen {
    let ours: Vec<&Pod> = pods.iter().filter(|pod| is_of(pod, set)).collect();
    let is_ours = rollout(&deployment.metadata) == Some(set.rollout.as_str());
    let ready: Vec<SocketAddr> = ours
        .iter()
        .filter(|pod| is_ready(pod))
        .filter_map(|pod| {
            pod.status
                .as_ref()?
                .pod_ip
                .as_deref()?
                .parse::<IpAddr>()
                .ok()
        })
        .map(|address| (address, set.port).into())
        .collect();
    let wanted = i32::from(set.replicas);
    let is_settled = is_ours
        && deployment.status.as_ref().is_some_and(|status| {
            let is = |count: Option<i32>| count.unwrap_or(0) == wanted;
            status.observed_generation >= deployment.metadata.generation
                && is(status.updated_replicas)
                && is(status.replicas)
                && is(status.available_replicas)
        })
        && ready.len() == usize::from(set.replicas);
    let failed = match is_ours {
        true => given_up(deployment).or_else(|| ours.iter().find_map(|pod| restarted(pod))),
        false => None,
    };
    let trouble = ours
        .iter()
        .filter(|pod| !is_ready(pod))
        .find_map(|pod| trouble(pod));
    let trouble = trouble.unwrap_or_else(|| match is_ours {
        true => format!("{} of {wanted} pods are ready", ready.len()),
        false => "somebody else has changed the deployment".to_string(),
    });
    Seen {
        ready,
        is_settled,
        service,
        failed,
        trouble,
    }
}
