//! What a value of the configuration can be: how it is read from TOML and from an environment variable, how it is
//! written, and the words that tell an operator what is allowed.

use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::example::{Key, Page};
use super::reader::{Node, Place, Reader};

/// A type that one key can hold.
pub trait Setting: Sized + Clone {
    /// Whether the value may instead stand in a file that `<key>_file` names.
    const SECRET: bool = false;

    /// Completes "expected …" in an error.
    fn expected() -> String;

    /// Reads the text of a TOML string, or of an environment variable.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads any TOML value; most settings are strings.
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    /// Why the value does not fit, where more can be said than what was expected.
    fn complaint(_value: &DeValue<'_>) -> Option<String> {
        None
    }

    /// The value as TOML.
    fn to_toml(&self) -> String;

    /// Whether there is no value to write.
    fn is_unset(&self) -> bool {
        false
    }
}

/// A table of keys; implemented by `section!`.
pub trait Section: Sized + Default {
    /// Names, and whether the key takes `_file`.
    const KEYS: &'static [(&'static str, bool)];

    fn load(node: Option<Node<'_>>, path: &str, reader: &mut Reader<'_>) -> Self;

    fn describe(&self, path: &str, out: &mut Page);
}

/// What stands at a key: a setting, a section or a list of sections.
pub trait Field: Sized {
    const SECRET: bool = false;

    fn load(place: Place<'_>, default: Self, hint: &dyn Hint<Self>, reader: &mut Reader<'_>) -> Self;

    fn describe(&self, key: Key<'_>, hint: &dyn Hint<Self>, out: &mut Page);
}

impl<T: Setting> Field for T {
    const SECRET: bool = <T as Setting>::SECRET;

    fn load(place: Place<'_>, default: Self, hint: &dyn Hint<Self>, reader: &mut Reader<'_>) -> Self {
        reader.setting(place, hint).unwrap_or(default)
    }

    fn describe(&self, key: Key<'_>, hint: &dyn Hint<Self>, out: &mut Page) {
        let value = if self.is_unset() { hint.example().unwrap_or_default().to_owned() } else { self.to_toml() };
        out.setting(key, &value, self.is_unset(), hint.allowed().as_deref(), <T as Setting>::SECRET);
    }
}

/// A section inside a section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table<T>(pub T);

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Section> Field for Table<T> {
    fn load(place: Place<'_>, _default: Self, _hint: &dyn Hint<Self>, reader: &mut Reader<'_>) -> Self {
        Table(T::load(place.node(), &place.key(), reader))
    }

    fn describe(&self, key: Key<'_>, _hint: &dyn Hint<Self>, out: &mut Page) {
        self.0.describe(&key.key(), out);
    }
}

/// A list of sections, `[[tls.extra]]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables<T>(pub Vec<T>);

impl<T> Deref for Tables<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Section> Field for Tables<T> {
    fn load(place: Place<'_>, _default: Self, _hint: &dyn Hint<Self>, reader: &mut Reader<'_>) -> Self {
        let nodes = reader.list(place);
        Tables(
            nodes
                .into_iter()
                .enumerate()
                .map(|(index, node)| T::load(Some(node), &format!("{}[{index}]", place.key()), reader))
                .collect(),
        )
    }

    fn describe(&self, key: Key<'_>, _hint: &dyn Hint<Self>, out: &mut Page) {
        out.tables(key, |page| T::default().describe("", page));
    }
}

/// What the declaration of a key says beside its type.
pub trait Hint<T> {
    /// Whether the value lies within the bounds.
    fn permits(&self, _value: &T) -> bool {
        true
    }

    /// The bounds in words.
    fn allowed(&self) -> Option<String> {
        None
    }

    /// What the example file shows for a key without a default, as TOML.
    fn example(&self) -> Option<&str> {
        None
    }
}

/// No bounds and no example.
pub struct AnyValue;

impl<T> Hint<T> for AnyValue {}

/// The value that the example file shows for a key that is unset by default, as TOML.
pub struct Example(pub &'static str);

impl<T> Hint<T> for Example {
    fn example(&self) -> Option<&str> {
        Some(self.0)
    }
}

impl<T: Setting + PartialOrd> Hint<T> for RangeInclusive<T> {
    fn permits(&self, value: &T) -> bool {
        self.contains(value)
    }

    fn allowed(&self) -> Option<String> {
        Some(format!("{} to {}", self.start().to_toml(), self.end().to_toml()))
    }
}

/// An enum whose values are words.
pub trait Choice: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;

    /// Reads a word in any case.
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.word().eq_ignore_ascii_case(text))
    }
}

/// `"a", "b" or "c"`.
pub fn words<T: Choice>(all: &[T]) -> String {
    let words: Vec<_> = all.iter().map(|choice| quoted(choice.word())).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// `text` as a TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Setting for bool {
    fn expected() -> String {
        "true or false".into()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer {
    ($($type:ty),*) => { $(
        impl Setting for $type {
            fn expected() -> String {
                format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX)
            }

            fn from_text(text: &str) -> Option<Self> {
                text.replace('_', "").parse().ok()
            }

            fn from_toml(value: &DeValue<'_>) -> Option<Self> {
                let number = value.as_integer()?;
                <$type>::from_str_radix(number.as_str(), number.radix()).ok()
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

integer!(u16, u32, u64);

impl Setting for String {
    fn expected() -> String {
        "a string".into()
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn expected() -> String {
        "a path".into()
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for Duration {
    fn expected() -> String {
        r#"a time with its unit: "500ms", "30s", "5m", "12h" or "7d""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let seconds = match unit.trim() {
            "ms" => return Some(Duration::from_millis(number)),
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        number.checked_mul(seconds).map(Duration::from_secs)
    }

    fn to_toml(&self) -> String {
        let seconds = self.as_secs();
        quoted(&match self.subsec_millis() {
            0 if seconds == 0 => "0s".into(),
            0 if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
            0 if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
            0 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
            0 => format!("{seconds}s"),
            _ => format!("{}ms", self.as_millis()),
        })
    }
}

impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> String {
        T::expected()
    }

    fn from_text(text: &str) -> Option<Self> {
        T::from_text(text).map(Some)
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        T::from_toml(value).map(Some)
    }

    fn complaint(value: &DeValue<'_>) -> Option<String> {
        T::complaint(value)
    }

    fn to_toml(&self) -> String {
        self.as_ref().map(T::to_toml).unwrap_or_default()
    }

    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

/// A list; a single value stands for a list of one, and a comma separates values in an environment variable.
impl<T: Setting> Setting for Vec<T> {
    fn expected() -> String {
        format!("a list, each {}", T::expected())
    }

    fn from_text(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::from_text).collect()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_array() {
            Some(items) => items.iter().map(|item| T::from_toml(item.get_ref())).collect(),
            None => T::from_toml(value).map(|one| vec![one]),
        }
    }

    fn complaint(value: &DeValue<'_>) -> Option<String> {
        let Some(items) = value.as_array() else { return T::complaint(value) };
        let (index, item) = items.iter().enumerate().find(|(_, item)| T::from_toml(item.get_ref()).is_none())?;
        let why = T::complaint(item.get_ref()).unwrap_or_else(|| format!("is not {}", T::expected()));
        Some(format!("item {}, {}, {why}", index + 1, super::reader::shown(item.get_ref())))
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(T::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

/// A password, token or key. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The secret itself; named so that a search finds each use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Setting for Secret {
    const SECRET: bool = true;

    fn expected() -> String {
        "a string that is not empty".into()
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted("…")
    }
}

/// Bytes: a whole number, or a string with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    pub const fn kib(count: u64) -> Self {
        Size(count * 1024)
    }

    pub const fn mib(count: u64) -> Self {
        Size(count * 1024 * 1024)
    }

    /// The size as a length in memory; saturates.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Setting for Size {
    fn expected() -> String {
        r#"a size in bytes: 65535, "64KiB" or "2MiB""#.into()
    }

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let scale = match unit.trim() {
            "" | "B" => 1,
            "kB" => 1000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(scale).map(Size)
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).map(Size).or_else(|| Self::from_text(value.as_str()?))
    }

    fn to_toml(&self) -> String {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => quoted(&format!("{}MiB", bytes >> 20)),
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => quoted(&format!("{}KiB", bytes >> 10)),
            bytes => bytes.to_string(),
        }
    }
}
