//! Writes the manual pages that follow from definitions.

use std::process::ExitCode;

fn main() -> ExitCode {
    let written = man::pages().and_then(|pages| {
        pages.iter().try_for_each(|(name, page)| {
            let file = man::directory().join(name);
            std::fs::write(&file, page).map(|()| println!("{}", file.display()))
        })
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
