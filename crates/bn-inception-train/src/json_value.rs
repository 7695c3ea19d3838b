//! Settings and results as JSON values.

use serde::Serialize;
use serde_json::Value;

/// `fields` as the value of their JSON text, in which an `f32` has the digits that a person wrote: 0.1, not the
/// 0.10000000149 of `serde_json::to_value`. `Null` if they have no JSON, which strings and numbers always have.
pub(crate) fn json_value(fields: &impl Serialize) -> Value {
    let text = serde_json::to_string(fields).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RECIPES;

    #[test]
    fn numbers_have_the_digits_that_were_written() {
        assert_eq!(json_value(&[0.1_f32, 0.4, 1.0]).to_string(), "[0.1,0.4,1.0]");
        for recipe in RECIPES {
            let text = json_value(&recipe).to_string();
            let long = text.split([':', ',', '}']).find(|word| word.len() > 12 && word.parse::<f64>().is_ok());
            // The schedule's decays are quotients.
            assert!(long.is_none_or(|word| text.contains(&format!("\"decays\":{word}"))), "{text}");
        }
    }
}
