//! Declares a section of the configuration once: its keys, their meaning, type, default and bounds. The reader, the
//! example file and the reference page are all made from that one declaration.

/// Declares a section.
///
/// ```text
/// section! {
///     /// What the section is for.
///     pub struct Timers {
///         /// What the key means.
///         pub t1: Duration = millis(500) => millis(10)..=millis(5000);
///     }
/// }
/// ```
///
/// After `=>` stands either the range that is allowed or [`Example`](super::setting::Example), the value that the
/// example file shows for a key that is unset by default. A key whose type is itself a section becomes a sub-table.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident : $type:ty = $default:expr $(=> $hint:expr)? ;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::setting::Section for $name {
            const KEYS: &'static [(&'static str, bool)] =
                &[ $( (stringify!($field), <$type as $crate::config::setting::Field>::SECRET), )* ];

            fn load(node: Option<$crate::config::reader::Node<'_>>, path: &str, reader: &mut $crate::config::reader::Reader<'_>) -> Self {
                let table = reader.table::<Self>(node, path);
                let default = Self::default();
                Self {
                    $(
                        $field: <$type as $crate::config::setting::Field>::load(
                            $crate::config::reader::Place { table, path, name: stringify!($field) },
                            default.$field,
                            section!(@hint $($hint)?),
                            reader,
                        ),
                    )*
                }
            }

            fn describe(&self, path: &str, out: &mut $crate::config::example::Page) {
                out.section(path, &[ $($about),* ]);
                $(
                    <$type as $crate::config::setting::Field>::describe(
                        &self.$field,
                        $crate::config::example::Key { path, name: stringify!($field), doc: &[ $($doc),* ] },
                        section!(@hint $($hint)?),
                        out,
                    );
                )*
            }
        }
    };
    (@hint) => { &$crate::config::setting::AnyValue };
    (@hint $hint:expr) => { &$hint };
}

/// Declares an enum whose values are words in the configuration.
macro_rules! choice {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $( $(#[$doc:meta])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$doc])* $variant, )* }

        impl $crate::config::setting::Choice for $name {
            const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::config::setting::Choice::word(*self))
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn expected() -> String {
                $crate::config::setting::words(<Self as $crate::config::setting::Choice>::ALL)
            }

            fn from_text(text: &str) -> Option<Self> {
                <Self as $crate::config::setting::Choice>::parse(text)
            }

            fn to_toml(&self) -> String {
                $crate::config::setting::quoted($crate::config::setting::Choice::word(*self))
            }
        }
    };
}

pub(crate) use {choice, section};
