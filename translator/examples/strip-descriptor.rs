//! Writes the descriptor set of `envoy-types` without comments:
//! `cargo run -p postern-translator --example strip-descriptor -- types.bin translator/src/descriptor.bin`.

use prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: strip-descriptor FROM TO".into());
    };
    let mut set = FileDescriptorSet::decode(std::fs::read(from)?.as_slice())?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    std::fs::write(to, set.encode_to_vec())?;
    Ok(())
}
