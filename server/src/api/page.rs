//! A page to read the document and try its routes on: Swagger UI, all of it in this binary.

use std::io::{Cursor, Read as _};
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

use super::input::{IdSegment, name};
use super::problem::Problem;

/// What the page is made of, beside itself.
pub(super) const FILES: [&str; 3] = [STYLE, PROGRAM, START];
const STYLE: &str = "swagger-ui.css";
const PROGRAM: &str = "swagger-ui-bundle.js";
const START: &str = "start.js";

/// Nothing from anywhere else, and nothing that stands in the page itself but styles, which
/// Swagger UI sets on its elements. The key that somebody pastes can be sent to this API alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";
const NO_SNIFFING: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
/// A new version brings new files under old names.
const KEPT: (HeaderName, &str) = (header::CACHE_CONTROL, "max-age=600");

/// The page.
pub(super) async fn show() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        NO_SNIFFING,
    ];
    (headers, include_str!("page/index.html")).into_response()
}

/// To the page, since what it is made of lies beside it.
pub(super) async fn lead() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "docs/")]).into_response()
}

/// What the page is made of.
pub(super) async fn file(segment: IdSegment) -> Result<Response, Problem> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (of, bytes) = match name(segment).as_str() {
        STYLE => ("text/css; charset=utf-8", packed(STYLE)?),
        PROGRAM => (SCRIPT, packed(PROGRAM)?),
        START => (SCRIPT, Bytes::from_static(include_bytes!("page/start.js"))),
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "the page has no such file")),
    };
    Ok(([(header::CONTENT_TYPE, of), KEPT, NO_SNIFFING], bytes).into_response())
}

/// A file of Swagger UI's, unpacked when somebody first wants it.
fn packed(name: &str) -> Result<Bytes, Problem> {
    static STYLES: LazyLock<Option<Bytes>> = LazyLock::new(|| unpack(STYLE));
    static SCRIPTS: LazyLock<Option<Bytes>> = LazyLock::new(|| unpack(PROGRAM));
    let unpacked = if name == STYLE { &*STYLES } else { &*SCRIPTS };
    unpacked.clone().ok_or_else(|| {
        let detail = "a file of the page cannot be unpacked";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })
}

/// `None` if it is not there, or broken: a test looks.
fn unpack(name: &str) -> Option<Bytes> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).ok()?;
    // The folder around it has the version in its name.
    let end = format!("/dist/{name}");
    let path = archive.file_names().filter_map(Result::ok).find(|path| path.ends_with(&end));
    let path = path?.into_owned();
    let mut bytes = Vec::new();
    archive.by_name(&path).ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_has_everything_it_names() {
        let page = include_str!("page/index.html");
        for name in FILES {
            assert!(page.contains(&format!("\"{name}\"")), "{name} is of no use");
            let answer = file(Ok(axum::extract::Path(name.to_owned()))).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
        }
        assert!(!page.contains("//") && page.matches("src=").count() == 2);
        assert!(packed(PROGRAM).unwrap().len() > 1_000_000);
    }
}
