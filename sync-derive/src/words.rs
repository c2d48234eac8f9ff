//! The words inside one attribute: `word`, `word = value`, `word(…)`, and what a word's value must be.

use crate::errors::Errors;
use proc_macro2::{Group, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, ExprPath, Ident, Lit, LitBool, LitStr, Meta, Token};

/// One word of an attribute with what stands behind it.
pub(crate) struct Word {
    /// The word, as it was written.
    pub(crate) name: Ident,
    /// What stands behind it.
    pub(crate) value: Behind,
}

/// What stands behind a word.
pub(crate) enum Behind {
    /// Nothing.
    Nothing,
    /// `= value`
    Value(Expr),
    /// `(…)`
    List(Group),
    /// Something that was already reported; the word counts as given.
    Reported,
}

impl Word {
    /// The word as text, without `r#`.
    pub(crate) fn text(&self) -> String {
        self.name.unraw().to_string()
    }

    /// Where the word stands.
    pub(crate) fn span(&self) -> Span {
        self.name.span()
    }

    /// Reports a value behind a word that takes none.
    pub(crate) fn no_value(&self, errors: &mut Errors) {
        match &self.value {
            Behind::Nothing | Behind::Reported => {}
            Behind::Value(value) => errors.on(value, format!("`{}` takes no value", self.text())),
            Behind::List(list) => errors.at(list.span(), format!("`{}` takes no value", self.text())),
        }
    }

    /// The string behind the word; `None` with a report if it is none.
    pub(crate) fn string(&self, errors: &mut Errors) -> Option<LitStr> {
        let value = self.value(errors, "\"…\"")?;
        if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value {
            return Some(text.clone());
        }
        let word = self.text();
        errors.on(value, format!("`{word}` takes a string in quotes: `{word} = \"…\"`"));
        None
    }

    /// The strings in the parentheses behind the word; what is none is reported and left out.
    pub(crate) fn strings(&self, errors: &mut Errors) -> Vec<LitStr> {
        let word = self.text();
        let list = match &self.value {
            Behind::List(list) if !list.stream().is_empty() => list,
            Behind::Reported => return Vec::new(),
            _ => {
                errors.at(self.span(), format!("`{word}` takes strings in parentheses: `{word}(\"…\")`"));
                return Vec::new();
            }
        };
        let strings = Punctuated::<LitStr, Token![,]>::parse_terminated.parse2(list.stream());
        match strings {
            Ok(strings) => strings.into_iter().collect(),
            Err(error) => {
                let message =
                    format!("`{word}` takes strings in quotes, with commas between: `{word}(\"…\", \"…\")`");
                errors.at(error.span(), message);
                Vec::new()
            }
        }
    }

    /// `true` or `false` behind the word; `None` with a report if it is neither.
    pub(crate) fn boolean(&self, errors: &mut Errors) -> Option<LitBool> {
        let value = self.value(errors, "false")?;
        if let Expr::Lit(ExprLit { lit: Lit::Bool(value), .. }) = value {
            return Some(value.clone());
        }
        errors.on(value, format!("`{}` takes `true` or `false`", self.text()));
        None
    }

    /// The path behind the word, bare or in quotes; `None` with a report if it is none.
    pub(crate) fn path(&self, errors: &mut Errors, example: &str) -> Option<ExprPath> {
        let value = self.value(errors, example)?;
        let word = self.text();
        match value {
            Expr::Path(path) => Some(path.clone()),
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => match text.parse() {
                Ok(path) => Some(path),
                Err(_) => {
                    errors.on(text, format!("not a path; `{word}` takes one: `{word} = {example}`"));
                    None
                }
            },
            other => {
                errors.on(other, format!("`{word}` takes a path: `{word} = {example}`"));
                None
            }
        }
    }

    /// The value behind a word that needs one; `None` with a report if there is none.
    pub(crate) fn value(&self, errors: &mut Errors, example: &str) -> Option<&Expr> {
        let word = self.text();
        match &self.value {
            Behind::Value(value) => Some(ungroup(value)),
            Behind::Reported => None,
            Behind::Nothing => {
                errors.at(self.span(), format!("`{word}` needs a value: `{word} = {example}`"));
                None
            }
            Behind::List(list) => {
                let message = format!("the value of `{word}` follows an equals sign: `{word} = {example}`");
                errors.at(list.span(), message);
                None
            }
        }
    }
}

/// The expression inside the invisible brackets that `macro_rules!` puts around one.
pub(crate) fn ungroup(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}

/// The words of an attribute, in order. What cannot be read is reported, and reading goes on where it can.
pub(crate) fn of(attribute: &Attribute, errors: &mut Errors) -> Vec<Word> {
    let name = attribute.path().get_ident().map(Ident::to_string).unwrap_or_default();
    let mut words = Vec::new();
    match &attribute.meta {
        Meta::List(list) => {
            let read = |input: ParseStream<'_>| {
                read_words(input, &name, &mut words, errors);
                // What could not be read has been reported.
                input.parse::<TokenStream>().map(drop)
            };
            if let Err(error) = list.parse_args_with(read) {
                errors.add(error);
            }
        }
        other => errors.on(other, format!("`{name}` takes words in parentheses: `#[{name}(…)]`")),
    }
    words
}

/// The words in the parentheses behind a word of this name; what cannot be read is left out.
pub(crate) fn inside(list: &Group, name: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let read = |input: ParseStream<'_>| {
        read_words(input, name, &mut words, &mut Errors::default());
        input.parse::<TokenStream>().map(drop)
    };
    // Only tokens that are no tokens could fail here.
    let _ = read.parse2(list.stream());
    words
}

fn read_words(input: ParseStream<'_>, attribute: &str, words: &mut Vec<Word>, errors: &mut Errors) {
    while !input.is_empty() {
        let Ok(name) = Ident::parse_any(input) else {
            let message = format!("`#[{attribute}(…)]` takes words separated by commas");
            return errors.add(input.error(message));
        };
        if input.peek(Token![::]) {
            return errors.add(input.error(format!("the words of `#[{attribute}(…)]` are no paths")));
        }
        match behind(input, &name, errors) {
            Ok(value) => words.push(Word { name, value }),
            Err(error) => {
                words.push(Word { name, value: Behind::Reported });
                return errors.add(error);
            }
        }
        if !input.is_empty() {
            let comma: syn::Result<Token![,]> = input.parse();
            if comma.is_err() {
                errors.add(input.error("a comma is missing before this"));
                // Without its comma a word can still be read; anything else would only be reported again.
                if !input.peek(Ident::peek_any) {
                    return;
                }
            }
        }
    }
}

fn behind(input: ParseStream<'_>, name: &Ident, errors: &mut Errors) -> syn::Result<Behind> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            errors.at(name.span(), format!("the value of `{name}` is missing behind the equals sign"));
            return Ok(Behind::Reported);
        }
        return Ok(Behind::Value(match literal(input) {
            Some(literal) => literal,
            None => input.parse()?,
        }));
    }
    if input.peek(syn::token::Paren) {
        return Ok(Behind::List(input.parse()?));
    }
    Ok(Behind::Nothing)
}

/// The value, if it is one literal and nothing else. Most are, and reading an expression takes syn far longer.
fn literal(input: ParseStream<'_>) -> Option<Expr> {
    if !input.peek(Lit) {
        return None;
    }
    let ahead = input.fork();
    let lit = ahead.parse().ok()?;
    if !ahead.is_empty() && !ahead.peek(Token![,]) {
        return None;
    }
    input.advance_to(&ahead);
    Some(Expr::Lit(ExprLit { attrs: Vec::new(), lit }))
}
