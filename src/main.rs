//! Parses nothing, decides nothing: see the library.

fn main() -> std::process::ExitCode {
    holdfast::cli::main()
}
