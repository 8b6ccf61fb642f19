//! The Service in front of the proxies.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use postern_translator::Infrastructure;
use postern_translator::infrastructure::{
    Port, PortProtocol, RequestedAddress, ServiceParameters, ServiceType,
};

use super::super::labels::{metadata, selector};
use super::super::objects::Wanted;
use super::super::options::RenderOptions;

/// The Service. A Service needs a port; where a Gateway serves none at the moment, the one that is there keeps its address.
pub(super) fn service(
    infrastructure: &Infrastructure,
    options: &RenderOptions,
    parameters: &ServiceParameters,
) -> Wanted<Service> {
    if infrastructure.ports.is_empty() {
        return Wanted::Unknown;
    }
    let address = infrastructure.addresses.iter().find_map(|address| match address {
        RequestedAddress::Ip(ip) => Some(ip.to_string()),
        RequestedAddress::Hostname(_) => None,
    });
    // What the Gateway asks for wins over its parameters: asked for inside, it must not be found outside.
    let type_ = if infrastructure.internal { ServiceType::ClusterIp } else { parameters.type_ };
    let (load_balancer_ip, cluster_ip) = match type_ {
        ServiceType::LoadBalancer => (address, None),
        ServiceType::ClusterIp => (None, address),
        ServiceType::NodePort => (None, None),
    };
    let outside = type_ != ServiceType::ClusterIp;
    let asked = infrastructure.cluster_ip.map(|ip| ip.to_string());
    Service {
        metadata: metadata(infrastructure, &options.controller_name, &parameters.object),
        spec: Some(ServiceSpec {
            type_: Some(type_.as_str().to_owned()),
            selector: Some(selector(infrastructure)),
            ports: Some(infrastructure.ports.iter().map(|it| port(*it, parameters, outside)).collect()),
            load_balancer_ip,
            cluster_ip: asked.or_else(|| parameters.cluster_ip.clone()).or(cluster_ip),
            external_traffic_policy: parameters.external_traffic_policy.clone().filter(|_| outside),
            ..ServiceSpec::default()
        }),
        status: None,
    }
    .into()
}

/// The proxies listen on the port itself, so nothing has to be mapped and new ports need no new pods.
fn port(port: Port, parameters: &ServiceParameters, outside: bool) -> ServicePort {
    let node_port = parameters.node_ports.get(&port.port).filter(|_| outside);
    let protocol = match port.protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    };
    ServicePort {
        name: Some(format!("{protocol}-{}", port.port)),
        port: i32::from(port.port),
        target_port: Some(IntOrString::Int(i32::from(port.port))),
        protocol: Some(port.protocol.as_str().to_owned()),
        node_port: node_port.map(|it| i32::from(*it)),
        ..ServicePort::default()
    }
}
