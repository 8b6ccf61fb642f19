//! Which requests an access log has.

use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter as Envoy, AndFilter, ComparisonFilter as EnvoyComparison, DurationFilter,
    ExtensionFilter, GrpcStatusFilter as EnvoyGrpcStatus, HeaderFilter, NotHealthCheckFilter, OrFilter,
    ResponseFlagFilter, StatusCodeFilter, access_log_filter::FilterSpecifier, comparison_filter::Op,
    extension_filter, grpc_status_filter::Status,
};
use envoy_types::pb::envoy::config::core::v3::RuntimeUInt32;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use postern_api::kgateway::{
    AccessLogFilter, Comparison, ComparisonFilter, FilterType, GrpcStatus, GrpcStatusFilter,
};

use crate::cel;
use crate::envoy::any;
use crate::problem::Fault;
use crate::route::matches;

/// Envoy's response flags; it refuses others.
const FLAGS: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX",
    "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

/// Reads a filter; fields of faults are relative to it.
pub(super) fn parse(spec: &AccessLogFilter) -> Result<Envoy, Fault> {
    let single = spec.condition();
    let alone = single != FilterType::default();
    let several = |filters: &[FilterType], field: &str| -> Result<Vec<Envoy>, Fault> {
        if filters.len() < 2 {
            return Err(Fault::new(
                field,
                "it joins less than two conditions",
                "write the condition directly",
            ));
        }
        let one = |(index, filter): (usize, &FilterType)| {
            condition(filter).map_err(|fault| fault.within(&format!("{field}[{index}]")))
        };
        filters.iter().enumerate().map(one).collect()
    };
    match (alone, spec.and_filter.as_slice(), spec.or_filter.as_slice()) {
        (true, [], []) => condition(&single),
        (false, filters @ [_, ..], []) => {
            Ok(specifier(FilterSpecifier::AndFilter(AndFilter { filters: several(filters, ".andFilter")? })))
        }
        (false, [], filters @ [_, ..]) => {
            Ok(specifier(FilterSpecifier::OrFilter(OrFilter { filters: several(filters, ".orFilter")? })))
        }
        _ => Err(Fault::new("", "it must have one condition", "join several with andFilter or orFilter")),
    }
}

fn specifier(specifier: FilterSpecifier) -> Envoy {
    Envoy { filter_specifier: Some(specifier) }
}

fn condition(spec: &FilterType) -> Result<Envoy, Fault> {
    let mut found = Vec::new();
    if let Some(filter) = &spec.status_code_filter {
        let comparison = comparison(filter).map_err(|fault| fault.within(".statusCodeFilter"))?;
        found.push(FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison: Some(comparison) }));
    }
    if let Some(filter) = &spec.duration_filter {
        let comparison = comparison(filter).map_err(|fault| fault.within(".durationFilter"))?;
        found.push(FilterSpecifier::DurationFilter(DurationFilter { comparison: Some(comparison) }));
    }
    match spec.not_health_check_filter {
        None => {}
        Some(true) => found.push(FilterSpecifier::NotHealthCheckFilter(NotHealthCheckFilter {})),
        Some(false) => {
            return Err(Fault::new(
                ".notHealthCheckFilter",
                "false is no condition",
                "set it to true, or remove the filter",
            ));
        }
    }
    if spec.traceable_filter.is_some() {
        return Err(Fault::new(
            ".traceableFilter",
            "Envoy means traces that internal callers force, and takes no caller for internal, so nothing would be logged",
            "use a headerFilter instead, such as one on traceparent with the regular expression .*-01",
        ));
    }
    if let Some(filter) = &spec.header_filter {
        let matchers = matches::header_matchers(std::slice::from_ref(&filter.header));
        let matchers = matchers.map_err(|fault| {
            let field = fault.field.replacen(".headers[0]", "", 1);
            Fault { field, ..fault }.within(".headerFilter.header")
        })?;
        found.push(FilterSpecifier::HeaderFilter(HeaderFilter { header: matchers.into_iter().next() }));
    }
    if let Some(filter) = &spec.response_flag_filter {
        if filter.flags.is_empty() {
            return Err(Fault::new(".responseFlagFilter.flags", "it is empty", "name a flag such as UF"));
        }
        if let Some((index, flag)) =
            filter.flags.iter().enumerate().find(|(_, flag)| !FLAGS.contains(&flag.as_str()))
        {
            return Err(Fault::new(
                format!(".responseFlagFilter.flags[{index}]"),
                format!("{flag:?} is not one of Envoy's response flags"),
                format!("use some of {}", FLAGS.join(", ")),
            ));
        }
        found.push(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: filter.flags.clone() }));
    }
    if let Some(filter) = &spec.grpc_status_filter {
        let filter = grpc_status(filter).map_err(|fault| fault.within(".grpcStatusFilter"))?;
        found.push(FilterSpecifier::GrpcStatusFilter(filter));
    }
    if let Some(filter) = &spec.cel_filter {
        cel::parse(&filter.r#match).map_err(|fault| fault.within(".celFilter.match"))?;
        let config = ExpressionFilter { expression: filter.r#match.clone(), ..ExpressionFilter::default() };
        found.push(FilterSpecifier::ExtensionFilter(ExtensionFilter {
            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
            config_type: Some(extension_filter::ConfigType::TypedConfig(any(config))),
        }));
    }
    let (Some(one), true) = (found.pop(), found.is_empty()) else {
        return Err(Fault::new(
            "",
            "it must have one condition",
            "give one, or join several with andFilter or orFilter",
        ));
    };
    Ok(specifier(one))
}

fn comparison(spec: &ComparisonFilter) -> Result<EnvoyComparison, Fault> {
    let op = match &spec.op {
        Comparison::Equal => Op::Eq,
        Comparison::AtLeast => Op::Ge,
        Comparison::AtMost => Op::Le,
        Comparison::Unknown(other) => {
            return Err(Fault::new(".op", format!("{other:?} is unknown"), "use EQ, GE or LE"));
        }
    };
    // Envoy wants the name of a runtime key, by which nobody sets the value.
    let value =
        RuntimeUInt32 { default_value: spec.value, runtime_key: "postern.access_log.unused".to_owned() };
    Ok(EnvoyComparison { op: op.into(), value: Some(value) })
}

fn grpc_status(spec: &GrpcStatusFilter) -> Result<EnvoyGrpcStatus, Fault> {
    if spec.statuses.is_empty() {
        return Err(Fault::new(".statuses", "it is empty", "name a status such as UNAVAILABLE"));
    }
    let status = |(index, status): (usize, &GrpcStatus)| {
        Status::from_str_name(status.as_str()).map(i32::from).ok_or_else(|| {
            Fault::new(
                format!(".statuses[{index}]"),
                format!("{:?} is not a status of gRPC", status.as_str()),
                format!("use some of {}", GrpcStatus::KNOWN.join(", ")),
            )
        })
    };
    Ok(EnvoyGrpcStatus {
        statuses: spec.statuses.iter().enumerate().map(status).collect::<Result<_, _>>()?,
        exclude: spec.exclude == Some(true),
    })
}
