//! How names are spelled: the rules of `rename_all`, the table's default name, the variants of the field enum.

/// A rule of `rename_all`. Each makes the same name of a field as serde's rule of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rule {
    /// `snake_case` and `lowercase`: as it stands.
    #[default]
    AsItStands,
    /// `UPPERCASE` and `SCREAMING_SNAKE_CASE`.
    Upper,
    /// `PascalCase`.
    Pascal,
    /// `camelCase`.
    Camel,
}

/// The rules that make names which a column can have.
const RULES: [(&str, Rule); 6] = [
    ("lowercase", Rule::AsItStands),
    ("UPPERCASE", Rule::Upper),
    ("PascalCase", Rule::Pascal),
    ("camelCase", Rule::Camel),
    ("snake_case", Rule::AsItStands),
    ("SCREAMING_SNAKE_CASE", Rule::Upper),
];

impl Rule {
    /// The rule with this name, or `None` if there is none.
    pub(crate) fn from_name(name: &str) -> Option<Rule> {
        RULES.into_iter().find(|(known, _)| *known == name).map(|(_, rule)| rule)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        RULES.map(|(name, _)| format!("`{name}`")).join(", ")
    }

    /// The name of a field by this rule.
    pub(crate) fn apply(self, field: &str) -> String {
        match self {
            Rule::AsItStands => field.to_owned(),
            Rule::Upper => field.to_ascii_uppercase(),
            Rule::Pascal => pascal(field),
            Rule::Camel => {
                let name = pascal(field);
                let mut letters = name.chars();
                match letters.next() {
                    Some(first) => first.to_ascii_lowercase().to_string() + letters.as_str(),
                    None => name,
                }
            }
        }
    }
}

/// A rule of serde's `rename_all`: the same rules, and two whose names no column can have, but JSON can.
#[derive(Debug, Default)]
pub(crate) struct JsonRule {
    rule: Rule,
    dashes: bool,
}

impl JsonRule {
    /// The rule with this name; as it stands if there is none.
    pub(crate) fn from_name(name: &str) -> JsonRule {
        match name {
            "kebab-case" => JsonRule { rule: Rule::AsItStands, dashes: true },
            "SCREAMING-KEBAB-CASE" => JsonRule { rule: Rule::Upper, dashes: true },
            name => JsonRule { rule: Rule::from_name(name).unwrap_or_default(), dashes: false },
        }
    }

    /// The name of a field by this rule.
    pub(crate) fn apply(&self, field: &str) -> String {
        let name = self.rule.apply(field);
        if self.dashes { name.replace('_', "-") } else { name }
    }
}

/// The name without underscores, with a capital where each word begins.
pub(crate) fn pascal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut word_begins = true;
    for letter in name.chars() {
        if letter == '_' {
            word_begins = true;
        } else if word_begins {
            out.push(letter.to_ascii_uppercase());
            word_begins = false;
        } else {
            out.push(letter);
        }
    }
    out
}

/// The name in small letters, with an underscore where each word begins; `HTTPServer` is `http_server`.
pub(crate) fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (place, letter) in letters.iter().enumerate() {
        let after_word = place > 0 && letters[place - 1] != '_' && !letters[place - 1].is_uppercase();
        let ends_acronym = place > 0
            && letters[place - 1].is_uppercase()
            && letters.get(place + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_word || ends_acronym) {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_in_snake_case() {
        for (name, table) in [
            ("Todo", "todo"),
            ("TodoItem", "todo_item"),
            ("HTTPServer", "http_server"),
            ("Item2", "item2"),
            ("Item2Copy", "item2_copy"),
            ("Already_Split", "already_split"),
            ("X", "x"),
            ("type", "type"),
        ] {
            assert_eq!(snake(name), table);
        }
    }

    #[test]
    fn rules_name_fields_as_serde_does() {
        for (rule, name) in [
            ("lowercase", "due_on_2"),
            ("UPPERCASE", "DUE_ON_2"),
            ("PascalCase", "DueOn2"),
            ("camelCase", "dueOn2"),
            ("snake_case", "due_on_2"),
            ("SCREAMING_SNAKE_CASE", "DUE_ON_2"),
        ] {
            assert_eq!(Rule::from_name(rule).expect("is a rule").apply("due_on_2"), name, "{rule}");
        }
        assert_eq!(Rule::from_name("kebab-case"), None);
        assert_eq!(Rule::Camel.apply("__"), "");
        assert_eq!(JsonRule::from_name("kebab-case").apply("due_on_2"), "due-on-2");
        assert_eq!(JsonRule::from_name("SCREAMING-KEBAB-CASE").apply("due_on_2"), "DUE-ON-2");
        assert_eq!(JsonRule::from_name("camelCase").apply("due_on_2"), "dueOn2");
    }
}
