//! `raftctl explain`: the page of an error's code.

use serde_json::json;

use crate::codes::{self, Code, Page, pages};
use crate::invocation::Invocation;
use crate::output::View;
use crate::output::table::Rows;
use crate::report::{Report, Result};

/// Prints a page, or the list of all.
///
/// # Errors
/// If there is no such code.
pub(crate) fn run(invocation: &Invocation, code: Option<&str>) -> Result<()> {
    let item = |page: &Page| {
        json!({
            "code": page.code.to_string(), "title": page.title, "text": page.text,
            "exitCode": page.exit.code(),
        })
    };
    let view = match code {
        None => {
            let mut rows = Rows::new(&["CODE", "EXIT", "MEANING"]);
            for page in pages() {
                let exit = page.exit.code().to_string();
                rows.push(vec![page.code.to_string(), exit, page.title.to_owned()]);
            }
            View {
                kind: "ErrorPageList",
                data: json!({ "pages": pages().map(item).collect::<Vec<_>>() }),
                text: rows.render(invocation.output.headers).into_bytes(),
                names: pages().map(|page| page.code.to_string()).collect(),
                warnings: Vec::new(),
            }
        }
        Some(text) => {
            let code = Code::parse(text).ok_or_else(|| {
                let shown = crate::output::units::printable(text.as_bytes());
                Report::new(codes::NO_PAGE, format!("no error has the code \"{shown}\""))
                    .help("raftctl explain    (lists all)")
            })?;
            let page = codes::page(code);
            let exit = page.exit.code();
            View {
                kind: "ErrorPage",
                data: item(page),
                text: format!("{code}: {} (exit code {exit})\n\n{}\n", page.title, page.text)
                    .into_bytes(),
                names: vec![code.to_string()],
                warnings: Vec::new(),
            }
        }
    };
    invocation.output.answer(&view)
}
