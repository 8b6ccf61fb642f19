//! Conditions on requests: rules with expressions in CEL.
//!
//! Whatever goes wrong, a request does not pass: one for which a Deny rule cannot be evaluated is refused, one for which an Allow
//! rule cannot be evaluated is not allowed by it.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac as Rules, permission, principal, rbac,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::google::api::expr::v1alpha1::Expr;
use envoy_types::pb::google::api::expr::v1alpha1::expr::create_struct::entry::KeyKind;
use envoy_types::pb::google::api::expr::v1alpha1::expr::{Call, ExprKind};
use postern_api::kgateway::{CelRuleAction, CelValidation};

use crate::cel;
use crate::problem::Fault;

/// Envoy's name of the filter.
pub(crate) const FILTER: &str = "envoy.filters.http.rbac";

/// Envoy reads no message with more than a hundred messages inside of each other; each part of an expression is two of them.
const MAX_DEPTH: usize = 46;

/// Rules that a request has to pass: none of the first, and one of the second, if there is any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CelRules {
    deny: Vec<Expr>,
    allow: Vec<Expr>,
}

/// Reads the rules; fields of faults are relative to `celValidation`.
pub(super) fn parse(spec: &CelValidation) -> Result<CelRules, Fault> {
    let mut rules = CelRules::default();
    for (index, rule) in spec.rules.iter().enumerate() {
        let at = |field: &str| format!(".rules[{index}]{field}");
        let expression = cel::parse(&rule.expression).map_err(|fault| fault.within(&at(".expression")))?;
        match rule.action.clone().unwrap_or_default() {
            CelRuleAction::Deny => rules.deny.push(expression),
            CelRuleAction::Allow => rules.allow.push(expression),
            CelRuleAction::Unknown(other) => {
                return Err(Fault::new(at(".action"), format!("{other:?} is unknown"), "use Deny or Allow"));
            }
        }
    }
    if rules.conditions().any(|condition| depth(&condition) > MAX_DEPTH) {
        return Err(Fault::new(
            ".rules",
            "the expressions are nested too deeply for so many rules",
            "simplify them, or use fewer rules",
        ));
    }
    Ok(rules)
}

impl CelRules {
    /// Envoy's filter.
    pub(crate) fn envoy(&self) -> Rbac {
        let policies: HashMap<String, Policy> = self
            .conditions()
            .enumerate()
            .map(|(index, mut condition)| {
                number(&mut condition, &mut 0);
                let policy = Policy {
                    permissions: vec![Permission { rule: Some(permission::Rule::Any(true)) }],
                    principals: vec![Principal { identifier: Some(principal::Identifier::Any(true)) }],
                    condition: Some(condition),
                    ..Policy::default()
                };
                (format!("{index:02}"), policy)
            })
            .collect();
        Rbac {
            rules: Some(Rules { action: rbac::Action::Allow.into(), policies, ..Rules::default() }),
            ..Rbac::default()
        }
    }

    /// Requests for which one of these is true pass. An error in any part of one makes it not true, unless another part decides:
    /// that is why what is denied stands here as what is not allowed.
    fn conditions(&self) -> impl Iterator<Item = Expr> {
        let not_denied: Vec<Expr> = self.deny.iter().map(|it| call("!_", vec![it.clone()])).collect();
        let allowed: Vec<Option<&Expr>> =
            if self.allow.is_empty() { vec![None] } else { self.allow.iter().map(Some).collect() };
        allowed.into_iter().map(move |allowed| {
            let parts: Vec<Expr> = not_denied.iter().chain(allowed).cloned().collect();
            all(&parts)
        })
    }
}

/// True if all are; a balanced tree, so that it is not deep.
fn all(parts: &[Expr]) -> Expr {
    match parts {
        [] => constant_true(),
        [one] => one.clone(),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            call("_&&_", vec![all(left), all(right)])
        }
    }
}

fn call(function: &str, args: Vec<Expr>) -> Expr {
    let call = Call { function: function.to_owned(), args, ..Call::default() };
    Expr { id: 0, expr_kind: Some(ExprKind::CallExpr(Box::new(call))) }
}

fn constant_true() -> Expr {
    use envoy_types::pb::google::api::expr::v1alpha1::{Constant, constant::ConstantKind};
    let constant = Constant { constant_kind: Some(ConstantKind::BoolValue(true)) };
    Expr { id: 0, expr_kind: Some(ExprKind::ConstExpr(constant)) }
}

/// The parts of an expression.
fn parts(expression: &mut Expr) -> Vec<&mut Expr> {
    match &mut expression.expr_kind {
        Some(ExprKind::SelectExpr(select)) => select.operand.as_deref_mut().into_iter().collect(),
        Some(ExprKind::CallExpr(call)) => {
            call.target.as_deref_mut().into_iter().chain(call.args.iter_mut()).collect()
        }
        Some(ExprKind::ListExpr(list)) => list.elements.iter_mut().collect(),
        Some(ExprKind::StructExpr(object)) => object
            .entries
            .iter_mut()
            .flat_map(|entry| {
                let key = match &mut entry.key_kind {
                    Some(KeyKind::MapKey(key)) => Some(key),
                    _ => None,
                };
                key.into_iter().chain(entry.value.as_mut())
            })
            .collect(),
        Some(ExprKind::ComprehensionExpr(loops)) => [
            loops.iter_range.as_deref_mut(),
            loops.accu_init.as_deref_mut(),
            loops.loop_condition.as_deref_mut(),
            loops.loop_step.as_deref_mut(),
            loops.result.as_deref_mut(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Some(ExprKind::ConstExpr(_) | ExprKind::IdentExpr(_)) | None => Vec::new(),
    }
}

/// Gives every part a number of its own, which the rules of CEL ask for.
fn number(expression: &mut Expr, last: &mut i64) {
    *last += 1;
    expression.id = *last;
    for part in parts(expression) {
        number(part, last);
    }
}

fn depth(expression: &Expr) -> usize {
    fn of(expression: &mut Expr) -> usize {
        1 + parts(expression).into_iter().map(of).max().unwrap_or(0)
    }
    of(&mut expression.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn rules(text: &str) -> Result<CelRules, Fault> {
        parse(&yaml(&format!("{{rules: [{text}]}}")))
    }

    #[test]
    fn one_condition_for_each_allow_rule() {
        let deny = "{expression: \"request.path == '/a'\"}";
        let allow = "{expression: \"request.method == 'GET'\", action: Allow}";
        for (text, conditions) in [
            (String::new(), 1),
            (deny.to_owned(), 1),
            (format!("{deny}, {deny}"), 1),
            (format!("{deny}, {allow}"), 1),
            (format!("{allow}, {deny}, {allow}"), 2),
        ] {
            let policies = rules(&text).unwrap().envoy().rules.unwrap().policies;
            assert_eq!(policies.len(), conditions, "{text}");
        }
    }

    fn ids(expression: &mut Expr, out: &mut Vec<i64>) {
        out.push(expression.id);
        for part in parts(expression) {
            ids(part, out);
        }
    }

    #[test]
    fn numbers_are_unique() {
        let text = "{expression: \"request.path in ['/a', '/b']\"}, {expression: \"'x' in request.headers && size(request.path) > 1\"}";
        let mut condition = rules(text).unwrap().conditions().next().unwrap();
        number(&mut condition, &mut 0);
        let mut found = Vec::new();
        ids(&mut condition, &mut found);
        let count = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count);
    }

    #[test]
    fn what_is_wrong_names_its_rule() {
        for (text, field) in [
            ("{expression: 'true'}, {expression: 'request.path =='}", ".rules[1].expression"),
            ("{expression: 'nonsense(request)'}", ".rules[0].expression"),
            ("{expression: 'true', action: Log}", ".rules[0].action"),
        ] {
            assert_eq!(rules(text).unwrap_err().field, field, "{text}");
        }
    }
}
