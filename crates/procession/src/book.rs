//! The pages of the book as doctests, so that every example in it runs.

macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(#[doc = include_str!(concat!("../../../docs/src/", $path))] mod $name {})*
    };
}

pages! {
    readme: "../../README.md",
}
