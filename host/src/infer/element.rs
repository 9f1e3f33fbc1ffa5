//! Which element of a list stands for a value: where the value is in it, what tells it from its neighbours, and what a
//! new one holds.

use super::place::Path;
use super::tree::Node;
use super::write::{literal, string};

/// A value, and the list that it became.
pub(super) type Pair<'n> = (&'n Node, &'n Node);

/// A place in an element, and what stands there.
type Leaf<'n> = (Vec<String>, &'n Node);

/// The arguments of a `wrap` that say so, `at` first; none if no place holds the value in every list.
pub(super) fn arguments(pairs: &[Pair<'_>]) -> Option<String> {
    let (value, list) = pairs.first()?;
    let mut places: Vec<Vec<String>> = Vec::new();
    for (place, node) in list.elements().iter().flat_map(below) {
        if node.same(value) && !places.contains(&place) {
            places.push(place);
        }
    }
    places.iter().find_map(|place| at(pairs, place))
}

fn at(pairs: &[Pair<'_>], place: &[String]) -> Option<String> {
    let stands = |value: &Node, element: &Node| find(element, place).is_some_and(|node| node.same(value));
    let standing = pairs.iter().map(|(value, list)| list.elements().iter().find(|element| stands(value, element)));
    let standing: Vec<&Node> = standing.collect::<Option<_>>()?;
    let neighbours = pairs.iter().flat_map(|(_, list)| list.elements());
    let neighbours: Vec<&Node> =
        neighbours.filter(|element| !standing.iter().any(|other| std::ptr::eq(*other, *element))).collect();
    let (first, rest) = standing.split_first()?;
    let new = rest.iter().fold((*first).clone(), |new, element| common(&new, element));
    let new = without(&new, place);
    let told = below(&new).into_iter().filter(|(place, node)| {
        let shared = |element: &&Node| find(element, place).is_some_and(|other| other.same(node));
        node.is_scalar() && !neighbours.iter().all(shared)
    });
    let conditions: Vec<String> = told.map(|(place, node)| condition(&place, node)).collect();
    let only = match conditions.as_slice() {
        [] => String::new(),
        [one] => format!(", where = {one}"),
        several => format!(", where = [{}]", several.join(", ")),
    };
    let new = if new.members().is_empty() { String::new() } else { format!(", new = {}", literal(&new)) };
    Some(format!(", at = {}{new}{only}", string(&Path::default().below(place).to_string())))
}

fn condition(place: &[String], node: &Node) -> String {
    format!("{{ path = {}, equals = {} }}", string(&Path::default().below(place).to_string()), literal(node))
}

/// Everything in an element with its place, what holds others before them.
fn below(element: &Node) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    for (key, member) in element.members() {
        found.push((vec![key.clone()], member));
        let deeper = below(member).into_iter();
        found.extend(deeper.map(|(place, node)| ([vec![key.clone()], place].concat(), node)));
    }
    found
}

fn find<'n>(element: &'n Node, place: &[String]) -> Option<&'n Node> {
    place.iter().try_fold(element, |node, key| node.member(key))
}

/// What both say.
fn common(one: &Node, other: &Node) -> Node {
    let shared = one.members().iter().filter_map(|(key, member)| {
        let theirs = other.member(key)?;
        let both = if member.members().is_empty() { member.clone() } else { common(member, theirs) };
        let says = if both.members().is_empty() { member.same(theirs) } else { true };
        says.then(|| (key.clone(), both))
    });
    Node::Object(shared.collect())
}

/// The same without what stands at a place, and without objects that hold nothing then.
fn without(node: &Node, place: &[String]) -> Node {
    let Some((first, rest)) = place.split_first() else { return node.clone() };
    let members = node.members().iter().filter_map(|(key, member)| match (key == first, rest) {
        (false, _) => Some((key.clone(), member.clone())),
        (true, []) => None,
        (true, rest) => Some((key.clone(), without(member, rest))).filter(|(_, left)| !left.members().is_empty()),
    });
    Node::Object(members.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> Option<String> {
        let pairs: Vec<[Node; 2]> =
            pairs.iter().map(|(value, list)| [value, list].map(|text| Node::parse(text).unwrap())).collect();
        arguments(&pairs.iter().map(|[value, list]| (value, list)).collect::<Vec<_>>())
    }

    #[test]
    fn what_tells_an_element_apart_is_what_its_neighbours_do_not_share() {
        let pairs = [
            ("80", r#"[{"k":"cpu","v":1,"use":{"avg":80}}]"#),
            ("70", r#"[{"k":"rps","v":1,"n":3},{"k":"cpu","v":1,"use":{"avg":70}}]"#),
        ];
        let expected =
            r#", at = "/use/avg", new = { json = '{"k":"cpu","v":1}' }, where = { path = "/k", equals = "cpu" }"#;
        assert_eq!(told(&pairs).as_deref(), Some(expected));
        assert_eq!(told(&pairs[..1]).as_deref(), Some(r#", at = "/use/avg", new = { json = '{"k":"cpu","v":1}' }"#));
        assert_eq!(told(&[("80", r#"[{"use":81}]"#)]), None);
        assert_eq!(told(&[("80", r#"[{"use":80}]"#), ("7", r#"[{"n":7}]"#)]), None);
    }
}
