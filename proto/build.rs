//! Compiles `kapelle/v1/*.proto`. protox is a compiler written in Rust, so no `protoc` is needed.

const FILES: &[&str] = &[
    "kapelle/v1/common.proto",
    "kapelle/v1/worker.proto",
    "kapelle/v1/control.proto",
    "kapelle/v1/join.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    // Far larger than the other answers.
    let large = ".kapelle.v1.Answer.kind.granted";
    prost_build::Config::new().boxed(large).compile_fds(descriptors)?;
    Ok(())
}
