pub(super) fn cases() -> Vec<crate::case::Case> {
    Vec::new()
}
pub(super) fn slow() -> Vec<crate::case::Case> {
    Vec::new()
}
