//! The files of the page, compiled into the program.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The document; it links its style and scripts, which the export replaces by the files themselves.
const DOCUMENT: &str = include_str!("page/index.html");

/// The JavaScript modules, each after those it imports from. They are joined into one script, so each import takes one
/// line, and no two modules have a top-level name in common.
const MODULES: &[&str] = &[
    include_str!("page/format.js"),
    include_str!("page/axes.js"),
    include_str!("page/surface.js"),
    include_str!("page/theme.js"),
    include_str!("page/store.js"),
    include_str!("page/stream.js"),
    include_str!("page/range.js"),
    include_str!("page/smoothing.js"),
    include_str!("page/rows.js"),
    include_str!("page/lines.js"),
    include_str!("page/marks.js"),
    include_str!("page/figure.js"),
    include_str!("page/panels.js"),
    include_str!("page/source.js"),
    include_str!("page/names.js"),
    include_str!("page/curves.js"),
    include_str!("page/network.js"),
    include_str!("page/ranks.js"),
    include_str!("page/validation.js"),
    include_str!("page/comparison.js"),
    include_str!("page/status.js"),
    include_str!("page/list.js"),
    include_str!("page/address.js"),
    include_str!("page/main.js"),
];

/// Content security policy of the served page: it may load its own files and ask its own server.
pub const SERVED_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
pub struct Asset {
    /// Path in a request.
    pub path: &'static str,
    /// Media type.
    pub mime: &'static str,
    /// Content.
    pub text: String,
    /// SHA-256 of the content in base64.
    pub digest: String,
}

/// The document, the style sheet, and the modules as one.
pub static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |path, mime, text: String| {
        let digest = STANDARD.encode(Sha256::digest(text.as_bytes()));
        Asset { path, mime, text, digest }
    };
    let style = include_str!("page/style.css").to_owned();
    [
        asset("/", "text/html; charset=utf-8", DOCUMENT.to_owned()),
        asset("/app.css", "text/css; charset=utf-8", style),
        asset("/app.js", "text/javascript; charset=utf-8", joined(MODULES)),
    ]
});

/// Modules concatenated, without their imports and with plain declarations for exports: a report has no files to import
/// from.
fn joined(modules: &[&str]) -> String {
    let mut joined = String::new();
    for module in modules {
        for line in module.lines().filter(|line| !line.starts_with("import ")) {
            joined.push_str(line.strip_prefix("export ").unwrap_or(line));
            joined.push('\n');
        }
    }
    joined
}

/// A page that holds everything in itself. `data` is a JSON list of the messages that the server would have sent.
pub fn report(data: &str) -> String {
    // Inside a script element only end tags and comments have a meaning.
    let data = data.replace('<', "\\u003c");
    let [_, style, script] = &*ASSETS;
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data: blob:; base-uri 'none'; \
         form-action 'none'",
        script.digest, style.digest,
    );
    let parts = [
        ("<!-- policy -->", format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")),
        ("<link rel=\"stylesheet\" href=\"app.css\">", format!("<style>{}</style>", style.text)),
        (
            "<script src=\"app.js\" type=\"module\"></script>",
            format!(
                "<script type=\"application/json\" id=\"report\">{data}</script>\n\
                 <script type=\"module\">{}</script>",
                script.text
            ),
        ),
    ];
    let document = DOCUMENT.to_owned();
    parts.iter().fold(document, |page, (link, content)| page.replacen(link, content, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_become_one() {
        let one = "// One.\nexport const a = 1;\nexport function b() {\n  return a;\n}\n";
        let two = "import { b } from \"./one.js\";\nb();\n";
        assert_eq!(joined(&[one, two]), "// One.\nconst a = 1;\nfunction b() {\n  return a;\n}\nb();\n");
        assert!(!ASSETS[2].text.contains("\nimport "));
        assert!(!ASSETS[2].text.contains("\nexport "));
    }

    #[test]
    fn a_report_holds_everything_and_no_more_tags_than_it_should() {
        let report = report("{\"name\":\"</script><script>alert(1)</script>\"}");
        for link in ["href=\"app.css\"", "src=\"app.js\"", "<!-- policy"] {
            assert!(DOCUMENT.contains(link), "{link}");
            assert!(!report.contains(link), "{link}");
        }
        assert!(!report.contains("alert(1)</script>"));
        assert_eq!(report.matches("</script>").count(), 2);
        assert_eq!(report.matches("</style>").count(), 1);
    }
}
