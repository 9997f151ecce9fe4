//! What a method looks like from outside, as a number: client and server agree on it if they have the same method.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, ReceiverKind, Signature};

/// The hash of a method's name, receiver, arguments' types and result.
///
/// Spaces, comments, and the names of arguments do not count.
pub(super) fn of(signature: &Signature) -> u64 {
    fnv1a(text(signature).bytes())
}

/// The same as text.
fn text(signature: &Signature) -> String {
    let mut text = vec![super::unraw(&signature.ident)];
    for input in &signature.inputs {
        text.push(",".into());
        match input {
            FnArg::Receiver(receiver) => {
                let exclusive = matches!(&receiver.kind, ReceiverKind::Reference(_, _, Some(_)))
                    || matches!(&receiver.kind, ReceiverKind::Typed(_, ty) if super::method::is_exclusive(ty));
                text.push(if exclusive { "&mut self" } else { "&self" }.into());
            }
            FnArg::Typed(argument) => spell(argument.ty.to_token_stream(), &mut text),
        }
    }
    spell(signature.output.to_token_stream(), &mut text);
    text.join(" ")
}

/// Tokens as words, whatever stands between them, without lifetimes.
fn spell(tokens: TokenStream, text: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push(open.into());
                spell(group.stream(), text);
                text.push(close.into());
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                tokens.next();
            }
            token => text.push(token.to_string()),
        }
    }
    text.retain(|word| !word.is_empty());
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
