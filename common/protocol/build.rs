//! Compiles the schemas with protox: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schemas = ["proto/peer.proto", "proto/client.proto", "proto/enrol.proto"];
    for schema in schemas {
        println!("cargo::rerun-if-changed={schema}");
    }
    let files = protox::compile(schemas, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
