//! Conditions on requests, in CEL.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::CelExpressionConfig;
use envoy_types::pb::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac as Rules, permission, principal, rbac,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as EnvoyRbac;
use envoy_types::pb::google::api::expr::v1alpha1::Expr;
use postern_api::kgateway::{RbacAction, RbacPolicy};

use crate::cel;
use crate::envoy::Any;
use crate::envoy::slot;
use crate::problem::Fault;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.rbac";

/// Which requests pass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rbac {
    allow: bool,
    expressions: Vec<Expr>,
}

impl Rbac {
    /// Reads the field `rbac`; the fields of faults are relative to it.
    pub(crate) fn parse(spec: &RbacPolicy) -> Result<Self, Fault> {
        let allow = match spec.action.clone().unwrap_or_default() {
            RbacAction::Allow => true,
            RbacAction::Deny => false,
            RbacAction::Unknown(other) => {
                return Err(Fault::new(".action", format!("{other:?} is unknown"), "use Allow or Deny"));
            }
        };
        let field = ".policy.matchExpressions";
        if spec.policy.match_expressions.is_empty() {
            return Err(Fault::new(field, "there is no expression", "write at least one, in CEL"));
        }
        let expression = |(index, text): (usize, &String)| {
            cel::parse(text).map_err(|fault| fault.within(&format!("{field}[{index}]")))
        };
        let expressions = spec.policy.match_expressions.iter().enumerate().map(expression);
        Ok(Self { allow, expressions: expressions.collect::<Result<_, _>>()? })
    }

    /// What fills the slot of the route.
    pub(crate) fn envoy(&self) -> Any {
        slot::filled(FILTER, envoy(self.allow, &self.expressions))
    }
}

/// Envoy's filter that lets pass, or refuses with 403, what meets one of the conditions, and does the opposite to all else.
pub(crate) fn envoy(allow: bool, expressions: &[Expr]) -> EnvoyRbac {
    let policy = |condition: &Expr| Policy {
        permissions: vec![Permission { rule: Some(permission::Rule::Any(true)) }],
        principals: vec![Principal { identifier: Some(principal::Identifier::Any(true)) }],
        condition: Some(condition.clone()),
        // What they allocate is bounded by the size of headers.
        cel_config: Some(CelExpressionConfig {
            enable_string_conversion: true,
            enable_string_concat: true,
            enable_string_functions: true,
        }),
        ..Policy::default()
    };
    let policies = expressions.iter().enumerate().map(|(index, it)| (index.to_string(), policy(it)));
    EnvoyRbac {
        rules: Some(Rules {
            action: if allow { rbac::Action::Allow } else { rbac::Action::Deny }.into(),
            policies: policies.collect::<BTreeMap<_, _>>().into_iter().collect(),
            ..Rules::default()
        }),
        ..EnvoyRbac::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    #[test]
    fn what_is_wrong_names_its_field() {
        for (text, field) in [
            ("{policy: {matchExpressions: []}}", ".policy.matchExpressions"),
            ("{policy: {matchExpressions: ['true', 'requst.path']}}", ".policy.matchExpressions[1]"),
            ("{policy: {matchExpressions: ['true']}, action: Log}", ".action"),
        ] {
            assert_eq!(Rbac::parse(&yaml(text)).unwrap_err().field, field, "{text}");
        }
        assert!(Rbac::parse(&yaml("{policy: {matchExpressions: ['true']}}")).unwrap().allow);
    }
}
