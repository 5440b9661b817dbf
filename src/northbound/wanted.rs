//! What a filter asks of state that a provider makes: views that nobody asked for need not be made.
//!
//! Never the last word: the northbound selects again from what was made.

use super::filter::{Content, Selection};

/// What a filter asks of one node.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// `None`: all of it.
    selections: Option<Vec<&'a Selection>>,
}

impl<'a> Wanted<'a> {
    pub const ALL: Wanted<'static> = Wanted { selections: None };

    pub fn new(selection: Option<&'a Selection>) -> Self {
        match selection.map(|selection| &selection.content) {
            Some(Content::Within(selections)) => Self { selections: Some(selections.iter().collect()) },
            _ => Self { selections: None },
        }
    }

    /// Whether child `name` is asked for, by itself or with everything.
    pub fn has(&self, name: &str) -> bool {
        self.within(name).is_some()
    }

    /// Whether child `name` is asked for by its name: what is dear to make is made for those alone.
    pub fn names(&self, name: &str) -> bool {
        self.selections.iter().flatten().any(|selection| selection.name == name)
    }

    /// Whether nothing is asked for but the key of a list: then its whole entry is.
    pub fn has_only(&self, key: &str) -> bool {
        self.selections.iter().flatten().all(|selection| selection.name == key)
    }

    /// What is asked of child `name`; `None` when it is not asked for.
    pub fn within(&self, name: &str) -> Option<Wanted<'a>> {
        let Some(selections) = &self.selections else { return Some(Wanted { selections: None }) };
        // Beside content matches alone, RFC 6241 section 6.2.5 selects all siblings.
        if selections.iter().all(|selection| matches!(selection.content, Content::Match(_))) {
            return Some(Wanted { selections: None });
        }
        let mut inner = Vec::new();
        let mut is_found = false;
        for selection in selections.iter().filter(|selection| selection.name == name) {
            is_found = true;
            match &selection.content {
                Content::Within(selections) => inner.extend(selections),
                _ => return Some(Wanted { selections: None }),
            }
        }
        is_found.then_some(Wanted { selections: Some(inner) })
    }

    /// What is asked of child `name`, to be handed to somebody else: `None` when it is not asked for, and within that
    /// `None` when all of it is.
    pub fn handed_on(&self, name: &str) -> Option<Option<Selection>> {
        let Some(inner) = self.within(name)?.selections else { return Some(None) };
        let content = Content::Within(inner.into_iter().cloned().collect());
        Some(Some(Selection { namespace: None, name: name.to_owned(), attributes: Vec::new(), content }))
    }

    /// The values that the filter gives for the leaf at the end of `path`, each once: the keys of a list without end.
    pub fn keys(&self, path: &[&str], keys_max: usize) -> Vec<&'a str> {
        let mut at: Vec<&'a Selection> = self.selections.iter().flatten().copied().collect();
        for (depth, step) in path.iter().enumerate() {
            at.retain(|selection| selection.name == *step);
            if depth + 1 < path.len() {
                at = at.into_iter().flat_map(children).collect();
            }
        }
        let mut keys: Vec<&'a str> = Vec::new();
        for selection in at {
            if let Content::Match(text) = &selection.content
                && !keys.contains(&text.as_str())
            {
                keys.push(text);
            }
        }
        keys.truncate(keys_max);
        keys
    }
}

fn children(selection: &Selection) -> impl Iterator<Item = &Selection> {
    match &selection.content {
        Content::Within(selections) => selections.as_slice(),
        _ => &[],
    }
    .iter()
}
