//! What a strict server reads: the shape of its records, learned from records that it writes itself.
//!
//! This is the rehearsal's own judge of records and knows nothing of packs: a record that a translation got wrong
//! is refused here as a server of flesh and blood would refuse it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The set of JSON documents that have the members of the samples and no others, each of a kind seen there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shape {
    kinds: Kinds,
    members: BTreeMap<String, Member>,
    objects: u32,
    element: Option<Box<Shape>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Member {
    shape: Shape,
    seen: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Kinds {
    null: bool,
    boolean: bool,
    number: bool,
    string: bool,
    array: bool,
    object: bool,
}

impl Shape {
    /// The smallest shape that every sample has; a member that is in all samples is required.
    pub(super) fn of<'a>(samples: impl IntoIterator<Item = &'a Value>) -> Shape {
        let mut shape = Shape::default();
        for sample in samples {
            shape.learn(sample);
        }
        shape
    }

    /// Whether a document has this shape.
    ///
    /// # Errors
    /// The first place that differs, as a JSON Pointer with what is wrong there.
    pub(super) fn accepts(&self, document: &Value) -> Result<(), String> {
        self.check(document, &mut String::new())
    }

    fn learn(&mut self, sample: &Value) {
        match sample {
            Value::Null => self.kinds.null = true,
            Value::Bool(_) => self.kinds.boolean = true,
            Value::Number(_) => self.kinds.number = true,
            Value::String(_) => self.kinds.string = true,
            Value::Array(elements) => {
                self.kinds.array = true;
                for element in elements {
                    self.element.get_or_insert_default().learn(element);
                }
            }
            Value::Object(members) => {
                self.kinds.object = true;
                self.objects += 1;
                for (key, value) in members {
                    let member = self.members.entry(key.clone()).or_default();
                    member.seen += 1;
                    member.shape.learn(value);
                }
            }
        }
    }

    fn check(&self, value: &Value, place: &mut String) -> Result<(), String> {
        let (known, kind) = match value {
            Value::Null => (self.kinds.null, "null"),
            Value::Bool(_) => (self.kinds.boolean, "a boolean"),
            Value::Number(_) => (self.kinds.number, "a number"),
            Value::String(_) => (self.kinds.string, "a string"),
            Value::Array(_) => (self.kinds.array, "an array"),
            Value::Object(_) => (self.kinds.object, "an object"),
        };
        if !known {
            return Err(format!("{}: unexpected {kind}", root_or(place)));
        }
        match value {
            Value::Array(elements) => self.check_elements(elements, place),
            Value::Object(members) => self.check_members(members, place),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn check_elements(&self, elements: &[Value], place: &mut String) -> Result<(), String> {
        // An array that was empty in every sample says nothing of its elements.
        let Some(shape) = &self.element else { return Ok(()) };
        let length = place.len();
        for (index, element) in elements.iter().enumerate() {
            place.push_str(&format!("/{index}"));
            shape.check(element, place)?;
            place.truncate(length);
        }
        Ok(())
    }

    fn check_members(&self, members: &serde_json::Map<String, Value>, place: &mut String) -> Result<(), String> {
        let length = place.len();
        for (key, value) in members {
            place.push('/');
            place.push_str(key);
            let Some(member) = self.members.get(key) else { return Err(format!("{place}: unknown member")) };
            member.shape.check(value, place)?;
            place.truncate(length);
        }
        match self.members.iter().find(|(key, member)| member.seen == self.objects && !members.contains_key(*key)) {
            Some((key, _)) => Err(format!("{place}/{key}: missing member")),
            None => Ok(()),
        }
    }
}

fn root_or(place: &str) -> &str {
    if place.is_empty() { "the record" } else { place }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_have_their_own_shape() {
        let samples = [json!({"id":"a","n":1,"list":[]}), json!({"id":"b","n":2,"list":[{"x":null}],"more":true})];
        let shape = Shape::of(&samples);
        for sample in &samples {
            assert_eq!(shape.accepts(sample), Ok(()));
        }
    }

    #[test]
    fn unknown_missing_and_mistyped_members_are_refused_by_place() {
        let shape = Shape::of(&[json!({"id":"a","list":[{"x":1}]})]);
        let refused = |value: Value| shape.accepts(&value).expect_err("must be refused");
        assert_eq!(refused(json!({"id":"a","list":[],"schema":2})), "/schema: unknown member");
        assert_eq!(refused(json!({"list":[]})), "/id: missing member");
        assert_eq!(refused(json!({"id":"a","list":[{"x":"1"}]})), "/list/0/x: unexpected a string");
        assert_eq!(refused(json!([])), "the record: unexpected an array");
    }

    #[test]
    fn a_member_that_one_sample_lacks_is_optional() {
        let shape = Shape::of(&[json!({"a":1}), json!({"a":1,"b":2})]);
        assert_eq!(shape.accepts(&json!({"a":5})), Ok(()));
        assert!(shape.accepts(&json!({"b":5})).is_err());
    }
}
