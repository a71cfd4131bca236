//! What services claim of others as a message, and back.

use std::net::IpAddr;

use weir_policy::spec::{CLAIMS_MAX, ClaimSpec};

use super::{ascending, each};
use crate::{FieldError, Item, ItemKey, v1};

/// None where nothing is claimed, so that a policy without claims has the bytes that it always had.
pub fn to_message(claims: &[ClaimSpec]) -> Option<v1::Claims> {
    let claim = |claim: &ClaimSpec| v1::Claim {
        address: match weir_wire::to_ip_address(claim.address) {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
        service: claim.service.clone(),
    };
    let claims: Vec<v1::Claim> = claims.iter().map(claim).collect();
    (!claims.is_empty()).then_some(v1::Claims { claims })
}

pub fn from_message(message: Option<&v1::Claims>) -> Result<Vec<ClaimSpec>, FieldError> {
    let Some(message) = message else {
        return Ok(Vec::new());
    };
    let path = "claims.claims";
    if message.claims.len() > CLAIMS_MAX {
        let why = format!("{} are more than {CLAIMS_MAX}", message.claims.len());
        return Err(FieldError::new(path, why));
    }
    let claims = each(&message.claims, path, claim)?;
    ascending(path, &claims, |claim| claim)?;
    Ok(claims)
}

fn claim(message: &v1::Claim, path: &str) -> Result<ClaimSpec, FieldError> {
    let bytes = message.address.as_slice();
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    let address = v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok());
    let Some(address) = address else {
        let why = format!("has {} bytes, not 4 or 16", bytes.len());
        return Err(FieldError::new(format!("{path}.address"), why));
    };
    Ok(ClaimSpec {
        address: weir_wire::from_ip_address(address),
        service: message.service.clone(),
    })
}

impl Item {
    /// Of what services claim; no item where that is nothing.
    pub fn of_claims(claims: &[ClaimSpec]) -> (ItemKey, Option<Self>) {
        let message = to_message(claims);
        let settings = v1::Snapshot {
            claims: message,
            ..v1::Snapshot::default()
        };
        let item = Self::settings(&settings).find(|(key, _)| *key == ItemKey::Claims);
        (ItemKey::Claims, item.map(|(_, item)| item))
    }
}
