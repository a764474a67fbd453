//! Who is signed in, in memory.

use super::Memory;
use crate::StoreError;
use crate::sign_in::{SignIn, SignIns};

#[async_trait::async_trait]
impl SignIns for Memory {
    async fn put(&self, sign_in: SignIn) -> Result<(), StoreError> {
        self.state.lock().sign_ins.insert((sign_in.aor.clone(), sign_in.id.clone()), sign_in);
        Ok(())
    }

    async fn sign_out(&self, aor: &str, id: Option<&str>) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let before = state.sign_ins.len();
        state.sign_ins.retain(|(owner, own), _| **owner != *aor || id.is_some_and(|id| **own != *id));
        Ok((before - state.sign_ins.len()) as u64)
    }

    async fn sign_ins(&self, after: Option<(&str, &str)>, limit: usize) -> Result<Vec<SignIn>, StoreError> {
        let state = self.state.lock();
        let rest = state.sign_ins.iter().filter(|((aor, id), _)| after.is_none_or(|after| (&**aor, &**id) > after));
        Ok(rest.take(limit).map(|(_, sign_in)| sign_in.clone()).collect())
    }
}
