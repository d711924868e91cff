//! The map as one HTML file that needs nothing else: no network, no library. Its parts lie beside this file, in `page/`.

use pipeline_core::error::{BUG, Error, Result};

use super::atlas::Atlas;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");

/// In this order: each uses those before it.
const SCRIPTS: [&str; 7] = [
    include_str!("page/model.js"),
    include_str!("page/projection.js"),
    include_str!("page/places.js"),
    include_str!("page/map.js"),
    include_str!("page/panels.js"),
    include_str!("page/lists.js"),
    include_str!("page/main.js"),
];

/// Writes the page.
///
/// # Errors
/// Only on an error of ours.
pub(crate) fn render(atlas: &Atlas) -> Result<String> {
    let data = serde_json::to_string(atlas).map_err(|_| Error::new(&BUG, "a map could not be written as JSON"))?;
    let mut page = String::with_capacity(data.len() + 200_000);
    let mut rest = PAGE;
    // Part by part, so that nothing that was filled in is looked at for what to fill in.
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or_else(|| Error::new(&BUG, "the page of a map has an open placeholder"))?;
        page.push_str(before);
        match name {
            "title" => page.push_str(&text(&format!("Delivery coverage – {}", atlas.project))),
            "style" => page.push_str(STYLE),
            "data" => page.push_str(&script_data(&data)),
            "script" => {
                page.push_str("'use strict';\n(() => {\n");
                SCRIPTS.iter().for_each(|script| page.push_str(script));
                page.push_str("})();\n");
            }
            _ => return Err(Error::new(&BUG, format!("the page of a map has an unknown placeholder \"{name}\""))),
        }
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// JSON that can stand in a `<script>`: no `</script>` and no `<!--` can begin in it, and no line ends but by escapes.
fn script_data(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Text in HTML.
fn text(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_script() {
        let hostile = r#"{"name":"</script><script>alert(1)</script><!--&"}"#.replace("&", "\u{2028}\u{2029}&");
        let escaped = script_data(&hostile);
        assert!(!escaped.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{escaped}");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&hostile).unwrap(), serde_json::from_str(&escaped).unwrap());
        assert_eq!(before, after, "the same data");
    }

    #[test]
    fn the_page_names_no_other_host_and_runs_no_text() {
        let all = [&[PAGE, STYLE][..], &SCRIPTS].concat().concat();
        // Names of XML languages look like addresses; nobody asks for them.
        let all = all.replace("http://www.w3.org/2000/svg", "");
        for forbidden in [
            "http:",
            "https:",
            "//cdn",
            "@import",
            "fetch(",
            "XMLHttpRequest",
            "WebSocket",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!all.contains(forbidden), "{forbidden}");
        }
    }
}
