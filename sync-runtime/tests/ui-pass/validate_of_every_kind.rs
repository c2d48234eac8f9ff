use std::fmt;
use sync_runtime::prelude::*;

struct Refused(i64);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused", self.0)
    }
}

mod checks {
    pub fn any(_: &super::Any) -> Result<(), &'static str> {
        Err("never")
    }
}

#[derive(Syncable)]
#[sync(validate = checks::any)]
struct Any {
    #[sync(id)]
    id: i64,
}

#[derive(Syncable)]
#[sync(validate = "Self::check")]
struct Own {
    #[sync(id)]
    id: i64,
}

impl Own {
    fn check(&self) -> Result<(), Refused> {
        if self.id == 0 { Err(Refused(self.id)) } else { Ok(()) }
    }
}

#[derive(Syncable)]
struct None {
    #[sync(id)]
    id: i64,
}

fn main() {
    assert_eq!(Any { id: 1 }.validate(), Err("never".to_owned()));
    assert_eq!(Own { id: 0 }.validate(), Err("0 is refused".to_owned()));
    assert_eq!(Own { id: 1 }.validate(), Ok(()));
    assert_eq!(None { id: 1 }.validate(), Ok(()));
}
