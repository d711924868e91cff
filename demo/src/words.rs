//! Made-up names, streets and texts. People are put together from syllables: whoever shares a name with one does so by chance.

use crate::random::Random;

const GIVEN_STARTS: [&str; 20] =
    ["Al", "Bo", "Cé", "Da", "El", "Fra", "Go", "Han", "Il", "Jo", "Ka", "Lu", "Ma", "No", "Ol", "Pe", "Ru", "Sta", "Té", "Ży"];
const GIVEN_ENDS: [&str; 16] =
    ["ra", "nek", "lian", "mira", "dan", "ška", "bert", "nia", "rik", "sława", "tin", "zél", "vin", "lena", "gar", "dora"];
const FAMILY_STARTS: [&str; 24] = [
    "Bra", "Chmie", "Dvo", "Eck", "Fór", "Grze", "Hol", "Ivo", "Jan", "Krá", "Lešz", "Mül", "Nov", "Oster", "Pó", "Qua", "Řez", "Szcz",
    "Thor", "Ulm", "Vas", "Wró", "Zą", "Æb",
];
const FAMILY_MIDDLES: [&str; 14] = ["", "le", "wi", "ro", "ma", "ně", "bry", "sto", "ti", "lo", "da", "śli", "ger", "ve"];
const FAMILY_ENDS: [&str; 18] =
    ["ński", "vák", "berg", "mann", "łka", "ová", "ton", "field", "eira", "szek", "cki", "ler", "sen", "čka", "wicz", "ham", "lund", "ões"];
const STREET_STARTS: [&str; 24] = [
    "Lipowa",
    "Mostowa",
    "Ogrodowa",
    "Źródlana",
    "Łąkowa",
    "Školní",
    "Nádražní",
    "Krátká",
    "Linden",
    "Garten",
    "Brücken",
    "Mill",
    "Station",
    "Orchard",
    "Harbour",
    "Das Flores",
    "Do Sol",
    "Maple",
    "Cedar",
    "Bridge",
    "Hájová",
    "Świerkowa",
    "Kwiatowa",
    "Söder",
];
const NOTES: [&str; 12] = [
    "Ring twice, please",
    "Domofon nie działa, proszę dzwonić",
    "Zvonek nefunguje",
    "Leave it at the door",
    "Brama od podwórza",
    "2nd floor, no lift",
    "Bitte beim Nachbarn klingeln",
    "Allergic to peanuts!",
    "Call when near",
    "Boa noite, sem cebola",
    "\"Blue\" gate, then left",
    "Apartment at the back; mind the dog",
];
const COMMENTS: [&str; 10] = [
    "Great as always",
    "Zimne, ale smaczne",
    "Kurýr byl milý",
    "Too late",
    "Świetna obsługa!",
    "Missing a drink",
    "Muito bom",
    "Lecker",
    "ok",
    "Could be hotter \u{1f336}\u{fe0f}",
];

pub(crate) fn given_name(random: &mut Random) -> String {
    format!("{}{}", random.pick(&GIVEN_STARTS), random.pick(&GIVEN_ENDS))
}

pub(crate) fn family_name(random: &mut Random) -> String {
    format!("{}{}{}", random.pick(&FAMILY_STARTS), random.pick(&FAMILY_MIDDLES), random.pick(&FAMILY_ENDS))
}

/// A street name without a number.
pub(crate) fn street(random: &mut Random) -> &'static str {
    random.pick::<&str>(&STREET_STARTS)
}

pub(crate) fn note(random: &mut Random) -> &'static str {
    random.pick::<&str>(&NOTES)
}

pub(crate) fn comment(random: &mut Random) -> &'static str {
    random.pick::<&str>(&COMMENTS)
}

/// A postal code in the country's form.
pub(crate) fn postcode(country: &str, random: &mut Random) -> String {
    let number = random.below(1_000);
    let prefix = 10 + random.below(80);
    match country {
        "PL" => format!("{prefix:02}-{number:03}"),
        "CZ" | "SE" => format!("{number:03} {prefix:02}"),
        "GB" => format!("N{} {}AB", prefix % 20 + 1, number % 10),
        "PT" => format!("1{number:03}-{prefix:03}"),
        "HU" => format!("1{number:03}"),
        _ => format!("{prefix:02}{number:03}"),
    }
}

/// The letters of a name as they stand in a mail address: lower-case ASCII, anything else left out.
pub(crate) fn ascii(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// A text of exactly this many UTF-8 bytes that ends with `last`; `seedling` is repeated before it and filled up with dots.
pub(crate) fn text_of_bytes(seedling: &str, last: char, bytes: usize) -> String {
    let room = bytes - last.len_utf8();
    let mut text = String::with_capacity(bytes);
    while text.len() + seedling.len() <= room {
        text.push_str(seedling);
    }
    while text.len() < room {
        text.push('.');
    }
    text.push(last);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_exactly_their_bytes() {
        for (last, bytes) in [('ż', 256), ('\u{1f355}', 256), ('ł', 257)] {
            let text = text_of_bytes("Pizza z pieczarkami, żółtą papryką ", last, bytes);
            assert_eq!(text.len(), bytes);
            assert!(text.chars().count() < bytes);
        }
    }

    #[test]
    fn addresses_are_plain() {
        assert_eq!(ascii("Żółć Wróński"), "wrski");
    }
}
