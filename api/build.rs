//! Has this crate built anew when the web client was.

fn main() {
    println!("cargo:rerun-if-changed=../web/dist");
}
