//! Pages: how many, from where, and the cursor of the next.

use postworks::job::FieldError;
use uuid::Uuid;

use super::error::Error;
use super::types::Page;

/// Items on a page unless the caller says otherwise.
const LIMIT_DEFAULT: u32 = 50;
/// Most items on a page.
pub(super) const LIMIT_MAX: u32 = 100;
/// An id in a cursor has no hyphens.
const ID_CHARS: usize = 32;
/// Starts every cursor, so that one of another form can be told apart later.
const FORM: &str = "b";

/// A page that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) before: Option<Uuid>,
    pub(super) limit: u32,
}

impl Wanted {
    pub(super) fn read(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Error> {
        let mut faults = Vec::new();
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            faults.push(FieldError::new("/limit", format!("must be 1 to {LIMIT_MAX}")));
        }
        let before = cursor.map(|cursor| {
            let id = cursor.strip_prefix(FORM).filter(|id| id.len() == ID_CHARS);
            let id = id.and_then(|id| Uuid::try_parse(id).ok());
            id.ok_or_else(|| FieldError::new("/cursor", "is none that this API gave out"))
        });
        match before.transpose() {
            Ok(before) if faults.is_empty() => Ok(Self { before, limit }),
            Ok(_) => Err(Error::Invalid(faults)),
            Err(fault) => {
                faults.push(fault);
                Err(Error::Invalid(faults))
            }
        }
    }

    /// One more than asked for tells whether there is another page.
    pub(super) fn probe(self) -> u32 {
        self.limit + 1
    }

    /// The page, from rows read with [`Wanted::probe`].
    pub(super) fn page<T>(self, mut items: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| cursor(id(last)));
        Page { items, next }
    }
}

/// The cursor of the page after the row of this id.
pub(super) fn cursor(last: Uuid) -> String {
    format!("{FORM}{}", last.simple())
}
