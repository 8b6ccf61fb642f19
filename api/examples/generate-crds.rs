//! Writes the CRDs of the extension kinds into `deploy/crds/`, or into the directory given as argument.
//!
//! ```sh
//! cargo run -p postern-api --example generate-crds
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use postern_api::crds;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os()
        .nth(1)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds"), PathBuf::from);
    fs::create_dir_all(&directory)?;
    for crd in crds::extension_crds() {
        let path = directory.join(crds::file_name(&crd));
        fs::write(&path, crds::to_yaml(&crd)?)?;
        println!("{}", path.display());
    }
    Ok(())
}
