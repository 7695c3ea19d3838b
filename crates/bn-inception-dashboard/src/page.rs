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
    include_str!("page/theme.js"),
    include_str!("page/store.js"),
    include_str!("page/stream.js"),
    include_str!("page/range.js"),
    include_str!("page/smoothing.js"),
    include_str!("page/charts.js"),
    include_str!("page/curves.js"),
    include_str!("page/network.js"),
    include_str!("page/validation.js"),
    include_str!("page/comparison.js"),
    include_str!("page/status.js"),
    include_str!("page/main.js"),
];

/// The end of a content security policy. It allows, by their hashes, the inline styles that plotly.js sets: an empty
/// `style` element, which it fills through the object model, and the scaling of heat maps' images.
macro_rules! inline_style {
    () => {
        "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; \
         style-src-attr 'unsafe-hashes' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
         'sha256-AR/cKIZjWPcPmBUPDA6oti9XBiTbJvz0Cro2J1VzzS8=' \
         'sha256-S+l+cz1wXqs2B0FcjqqT7NvjwGmhD1UjJswXjlSkj0s='; \
         img-src data: blob:; base-uri 'none'; form-action 'none'"
    };
}

/// Content security policy of the served page: it may load its own files and ask its own server.
pub const SERVED_POLICY: &str = concat!(
    "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; style-src 'self' ",
    inline_style!()
);

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

/// The document, the style sheet, the page's own modules as one, and the charting library.
pub static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let asset = |path, mime, text: String| {
        let digest = STANDARD.encode(Sha256::digest(text.as_bytes()));
        Asset { path, mime, text, digest }
    };
    let style = include_str!("page/style.css").to_owned();
    let script = "text/javascript; charset=utf-8";
    [
        asset("/", "text/html; charset=utf-8", DOCUMENT.to_owned()),
        asset("/app.css", "text/css; charset=utf-8", style),
        asset("/app.js", script, joined(MODULES)),
        asset("/plotly.js", script, plotly_source()),
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

/// plotly.js out of the crate that carries it, which offers it inside script tags only.
fn plotly_source() -> String {
    let tags = plotly::Plot::offline_js_sources();
    let source = tags
        .split("<script type=\"text/javascript\">")
        .filter_map(|rest| rest.split("</script>").next())
        .find(|source| source.contains("plotly.js v"));
    source.unwrap_or_default().to_owned()
}

/// A page that holds everything in itself. `data` is a JSON list of the messages that the server would have sent.
pub fn report(data: &str) -> String {
    // Inside a script element only end tags and comments have a meaning.
    let data = data.replace('<', "\\u003c");
    let [_, style, script, plotly] = &*ASSETS;
    let policy = format!(
        concat!("default-src 'none'; script-src 'sha256-{}' 'sha256-{}'; style-src 'sha256-{}' ", inline_style!()),
        plotly.digest, script.digest, style.digest,
    );
    let parts = [
        ("<!-- policy -->", format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")),
        ("<link rel=\"stylesheet\" href=\"app.css\">", format!("<style>{}</style>", style.text)),
        (
            "<script src=\"plotly.js\" defer></script>",
            format!(
                "<script type=\"application/json\" id=\"report\">{data}</script>\n\
                 <script>{}</script>",
                plotly.text
            ),
        ),
        (
            "<script src=\"app.js\" type=\"module\"></script>",
            format!("<script type=\"module\">{}</script>", script.text),
        ),
    ];
    let document = DOCUMENT.to_owned();
    parts.iter().fold(document, |page, (link, content)| page.replacen(link, content, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_still_carries_plotly() {
        let source = &ASSETS[3].text;
        assert!(source.len() > 1 << 20, "{} bytes", source.len());
        assert!(source.contains("Plotly"));
        assert!(!source.contains("MathJax-script"));
    }

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
        for link in ["href=\"app.css\"", "src=\"plotly.js\"", "src=\"app.js\"", "<!-- policy"] {
            assert!(DOCUMENT.contains(link), "{link}");
            assert!(!report.contains(link), "{link}");
        }
        assert!(!report.contains("alert(1)</script>"));
        assert_eq!(report.matches("</script>").count(), 3);
        assert_eq!(report.matches("</style>").count(), 1);
    }
}
