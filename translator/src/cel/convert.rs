//! From the parser's tree to the message that Envoy reads.

use cel::common::ast::{
    CallExpr, EntryExpr, Expr as Parsed, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, MapExpr,
    SelectExpr, StructExpr,
};
use envoy_types::pb::google::api::expr::v1alpha1::constant::ConstantKind;
use envoy_types::pb::google::api::expr::v1alpha1::expr::create_struct::{Entry, entry::KeyKind};
use envoy_types::pb::google::api::expr::v1alpha1::expr::{
    Call, CreateList, CreateStruct, ExprKind, Ident, Select,
};
use envoy_types::pb::google::api::expr::v1alpha1::{Constant, Expr};

use crate::problem::Fault;

/// The message, nested at most `depth` times; ids are those of the parser, so they are unique.
pub(super) fn expression(parsed: &IdedExpr, depth: usize) -> Result<Expr, Fault> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Fault::new("", "the expression is nested too deeply", "use a shorter one, or several"));
    };
    let kind = match &parsed.expr {
        Parsed::Unspecified => return Err(unsupported("an empty part")),
        Parsed::Call(it) => call(it, depth)?,
        // Envoy switches them off, because their cost is not bounded by their size.
        Parsed::Comprehension(_) => {
            return Err(unsupported("the macros all, exists, exists_one, filter and map"));
        }
        Parsed::Ident(name) => ExprKind::IdentExpr(Ident { name: name.clone() }),
        Parsed::List(it) => list(it, depth)?,
        Parsed::Literal(it) => ExprKind::ConstExpr(Constant { constant_kind: Some(literal(it)) }),
        Parsed::Map(it) => map(it, depth)?,
        Parsed::Select(it) => select(it, depth)?,
        Parsed::Struct(it) => message(it)?,
    };
    Ok(Expr { id: id(parsed.id), expr_kind: Some(kind) })
}

fn id(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn unsupported(what: &str) -> Fault {
    Fault::new("", format!("Envoy cannot evaluate {what}"), "write it another way")
}

fn boxed(parsed: &IdedExpr, depth: usize) -> Result<Option<Box<Expr>>, Fault> {
    Ok(Some(Box::new(expression(parsed, depth)?)))
}

fn all(parsed: &[IdedExpr], depth: usize) -> Result<Vec<Expr>, Fault> {
    parsed.iter().map(|part| expression(part, depth)).collect()
}

fn call(call: &CallExpr, depth: usize) -> Result<ExprKind, Fault> {
    let target = call.target.as_deref().map(|it| expression(it, depth)).transpose()?.map(Box::new);
    Ok(ExprKind::CallExpr(Box::new(Call {
        target,
        function: call.func_name.clone(),
        args: all(&call.args, depth)?,
    })))
}

fn list(list: &ListExpr, depth: usize) -> Result<ExprKind, Fault> {
    Ok(ExprKind::ListExpr(CreateList { elements: all(&list.elements, depth)?, optional_indices: Vec::new() }))
}

fn literal(literal: &LiteralValue) -> ConstantKind {
    match literal {
        LiteralValue::Boolean(it) => ConstantKind::BoolValue(*it.inner()),
        LiteralValue::Bytes(it) => ConstantKind::BytesValue(it.inner().to_vec()),
        LiteralValue::Double(it) => ConstantKind::DoubleValue(*it.inner()),
        LiteralValue::Int(it) => ConstantKind::Int64Value(*it.inner()),
        LiteralValue::Null => ConstantKind::NullValue(0),
        LiteralValue::String(it) => ConstantKind::StringValue(it.inner().to_owned()),
        LiteralValue::UInt(it) => ConstantKind::Uint64Value(*it.inner()),
    }
}

fn map(map: &MapExpr, depth: usize) -> Result<ExprKind, Fault> {
    Ok(ExprKind::StructExpr(CreateStruct {
        message_name: String::new(),
        entries: entries(&map.entries, depth)?,
    }))
}

fn entries(given: &[IdedEntryExpr], depth: usize) -> Result<Vec<Entry>, Fault> {
    let entry = |it: &IdedEntryExpr| -> Result<Entry, Fault> {
        let EntryExpr::MapEntry(pair) = &it.expr else { return Err(unsupported("a message")) };
        Ok(Entry {
            id: id(it.id),
            value: Some(expression(&pair.value, depth)?),
            key_kind: Some(KeyKind::MapKey(expression(&pair.key, depth)?)),
            optional_entry: false,
        })
    };
    given.iter().map(entry).collect()
}

fn select(select: &SelectExpr, depth: usize) -> Result<ExprKind, Fault> {
    Ok(ExprKind::SelectExpr(Box::new(Select {
        operand: boxed(&select.operand, depth)?,
        field: select.field.clone(),
        test_only: select.test,
    })))
}

fn message(message: &StructExpr) -> Result<ExprKind, Fault> {
    Err(unsupported(&format!("the message {}", message.type_name)))
}
