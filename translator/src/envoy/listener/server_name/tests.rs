use super::*;

fn chains(hosts: &[&str]) -> BTreeMap<Hostname, String> {
    let chain = |host: &&str| (Hostname::parse_optional(Some(host)).unwrap(), format!("chain of {host}"));
    hosts.iter().map(chain).collect()
}

fn action(on_match: &OnMatch) -> Option<String> {
    let Some(on_match::OnMatch::Action(action)) = &on_match.on_match else { return None };
    let value = StringValue::decode(action.typed_config.as_ref()?.value.as_slice()).unwrap().value;
    assert_eq!(value, action.name);
    Some(value)
}

/// What Envoy does with the matcher: the chain for a server name. Matchers within matchers are followed.
fn chain_of(matcher: &Matcher, name: &str) -> Option<String> {
    let hit = match &matcher.matcher_type {
        None => None,
        Some(MatcherType::MatcherTree(tree)) => match &tree.tree_type {
            Some(TreeType::ExactMatchMap(map)) => map.map.get(name),
            other => panic!("{other:?}"),
        },
        Some(MatcherType::MatcherList(list)) => list.matchers.iter().find_map(|it| {
            let it: &FieldMatcher = it;
            let Some(MatchType::SinglePredicate(single)) =
                it.predicate.as_ref().and_then(|predicate| predicate.match_type.as_ref())
            else {
                panic!("{it:?}");
            };
            match &single.matcher {
                Some(single_predicate::Matcher::ValueMatch(StringMatcher {
                    match_pattern: Some(string_matcher::MatchPattern::Suffix(suffix)),
                    ..
                })) => name.ends_with(suffix).then_some(it.on_match.as_ref()?),
                other => panic!("{other:?}"),
            }
        }),
    };
    let on_match = hit.or(matcher.on_no_match.as_deref())?;
    match &on_match.on_match {
        Some(on_match::OnMatch::Matcher(inner)) => chain_of(inner, name),
        _ => action(on_match),
    }
}

#[test]
fn the_most_specific_host_chooses() {
    let matcher = matcher(&chains(&["a.x.org", "*.x.org", "*.b.x.org", "*.y.org", "*"]));
    for (name, host) in [
        ("a.x.org", "a.x.org"),
        ("c.x.org", "*.x.org"),
        ("a.a.x.org", "*.x.org"),
        ("a.b.x.org", "*.b.x.org"),
        // A wildcard needs a label before it.
        ("b.x.org", "*.x.org"),
        ("y.org", "*"),
        ("notx.org", "*"),
        ("", "*"),
    ] {
        assert_eq!(chain_of(&matcher, name), Some(format!("chain of {host}")), "{name}");
    }
}

#[test]
fn what_nobody_has_gets_no_chain() {
    for hosts in [&["a.x.org"][..], &["*.y.org"], &["a.x.org", "*.y.org"]] {
        assert_eq!(chain_of(&matcher(&chains(hosts)), "b.x.org"), None, "{hosts:?}");
    }
    assert_eq!(chain_of(&matcher(&chains(&["*"])), "b.x.org").as_deref(), Some("chain of *"));
    assert_eq!(
        chain_of(&matcher(&chains(&["*.y.org", "*"])), "b.y.org").as_deref(),
        Some("chain of *.y.org")
    );
}

/// Exact names are looked up, not compared one after the other: a route has up to a thousand.
#[test]
fn exact_names_are_one_map() {
    let names: Vec<String> = (0..1024).map(|number| format!("n{number}.x.org")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).chain(["*.x.org"]).collect();
    let matcher = matcher(&chains(&hosts));
    let Some(MatcherType::MatcherTree(tree)) = &matcher.matcher_type else { panic!("{matcher:?}") };
    let Some(TreeType::ExactMatchMap(map)) = &tree.tree_type else { panic!("{tree:?}") };
    assert_eq!(map.map.len(), 1024);
    assert_eq!(chain_of(&matcher, "n1023.x.org").as_deref(), Some("chain of n1023.x.org"));
    assert_eq!(chain_of(&matcher, "n1024.x.org").as_deref(), Some("chain of *.x.org"));
}
