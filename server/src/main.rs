//! The `chappe` binary.

use std::process::ExitCode;

/// Faster than the system's for many small blocks from many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chappe_server::cli::main()
}
