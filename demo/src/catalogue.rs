//! What can be ordered, and the promotions.

use chrono::NaiveDate;

use crate::calendar::{minus, plus};

/// One dish or drink.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) name: &'static str,
    pub(crate) category: &'static str,
    /// List price in euro cents.
    pub(crate) price: i64,
    /// How often it is ordered.
    pub(crate) weight: u32,
}

const fn product(category: &'static str, name: &'static str, price: i64, weight: u32) -> Product {
    Product { name, category, price, weight }
}

/// The whole catalogue. A product's number is its position.
pub(crate) const PRODUCTS: [Product; 48] = [
    product("pizza", "Margherita", 790, 30),
    product("pizza", "Capricciosa", 950, 22),
    product("pizza", "Quattro formaggi", 1_050, 18),
    product("pizza", "Oscypek z żurawiną", 1_120, 8),
    product("pizza", "Smažený sýr & brusinky", 1_090, 6),
    product("pizza", "Vegana", 980, 10),
    product("pizza", "Diavola", 1_020, 16),
    product("burger", "Classic burger", 890, 24),
    product("burger", "Cheeseburger podwójny", 1_090, 18),
    product("burger", "Halloumi burger", 990, 9),
    product("burger", "Crème fraîche & jalapeño burger", 1_150, 7),
    product("burger", "Chicken burger", 920, 15),
    product("sushi", "Maki zestaw 12", 1_290, 10),
    product("sushi", "Nigiri set", 1_590, 7),
    product("sushi", "Ebi tempura roll", 1_190, 8),
    product("sushi", "Kappa maki", 690, 6),
    product("salad", "Caesar", 850, 10),
    product("salad", "Sałatka grecka", 790, 9),
    product("salad", "Salade niçoise", 890, 5),
    product("salad", "Tabbouleh", 720, 4),
    product("soup", "Żurek", 520, 8),
    product("soup", "Tom yum", 640, 6),
    product("soup", "Česnečka", 480, 4),
    product("soup", "Caldo verde", 490, 4),
    product("pasta", "Carbonara", 940, 14),
    product("pasta", "Penne arrabbiata", 820, 9),
    product("pasta", "Lasagne al forno", 990, 10),
    product("pasta", "Pierogi ruskie", 760, 11),
    product("pasta", "Gnocchi al pesto", 880, 6),
    product("side", "Fries", 350, 28),
    product("side", "Sweet potato fries", 420, 12),
    product("side", "Garlic bread", 320, 14),
    product("side", "Coleslaw", 250, 8),
    product("side", "Onion rings", 380, 7),
    product("dessert", "Tiramisù", 490, 10),
    product("dessert", "Sernik", 450, 7),
    product("dessert", "Pastel de nata", 240, 8),
    product("dessert", "Apfelstrudel", 470, 5),
    product("dessert", "Medovník", 460, 4),
    product("dessert", "Brownie", 420, 7),
    product("drink", "Cola 0.5 l", 240, 26),
    product("drink", "Mineral water", 180, 18),
    product("drink", "Kompot", 220, 6),
    product("drink", "Mate", 290, 6),
    product("drink", "Espresso", 210, 8),
    product("drink", "Ayran", 230, 4),
    product("drink", "Lemonade", 280, 9),
    product("drink", "Pšeničné pivo 0.0 %", 310, 4),
];

/// Extras: name and euro cents.
pub(crate) const MODIFIERS: [(&str, i64); 10] = [
    ("extra cheese", 120),
    ("jalapeños", 80),
    ("bacon", 150),
    ("gluten-free", 200),
    ("no onion", 0),
    ("large", 250),
    ("sos czosnkowy", 60),
    ("oat milk", 50),
    ("extra wasabi", 70),
    ("well done", 0),
];

/// A product's number in stock keeping.
pub(crate) fn sku(number: usize) -> String {
    let category = PRODUCTS[number].category;
    let prefix: String = category.chars().take(3).map(|letter| letter.to_ascii_uppercase()).collect();
    format!("{prefix}-{number:03}")
}

/// What a promotion gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reward {
    /// Hundredths of the subtotal.
    Percent(i64),
    /// Euro cents.
    Amount(i64),
    FreeDelivery,
}

/// One promotion.
#[derive(Debug)]
pub(crate) struct Promotion {
    pub(crate) code: &'static str,
    pub(crate) reward: Reward,
    /// Smallest subtotal in euro cents.
    pub(crate) basket_min: i64,
    /// First day, in days after the first business date less 30.
    pub(crate) starts_after: u64,
    /// Length in days; `None`: open end.
    pub(crate) days: Option<u64>,
    /// Budget in euros; `None`: unlimited.
    pub(crate) budget: Option<i64>,
}

const fn promotion(code: &'static str, reward: Reward, basket_min: i64, span: (u64, Option<u64>), budget: Option<i64>) -> Promotion {
    Promotion { code, reward, basket_min, starts_after: span.0, days: span.1, budget }
}

/// All promotions.
pub(crate) const PROMOTIONS: [Promotion; 8] = [
    promotion("WELCOME10", Reward::Percent(10), 1_000, (0, None), None),
    promotion("LUNCH15", Reward::Percent(15), 1_200, (10, Some(400)), Some(250_000)),
    promotion("FIVE-OFF", Reward::Amount(500), 2_000, (20, Some(45)), Some(90_000)),
    promotion("FREERIDE", Reward::FreeDelivery, 1_500, (0, Some(90)), None),
    promotion("ZŁOTA-JESIEŃ", Reward::Percent(20), 2_500, (40, Some(30)), Some(40_000)),
    promotion("WEEKEND8", Reward::Percent(8), 0, (0, None), None),
    promotion("THREE-OFF", Reward::Amount(300), 1_500, (35, Some(60)), None),
    promotion("LAUNCH25", Reward::Percent(25), 3_000, (0, Some(20)), Some(10_000)),
];

impl Promotion {
    pub(crate) fn starts_on(&self, first: NaiveDate) -> NaiveDate {
        plus(minus(first, 30), self.starts_after)
    }

    pub(crate) fn ends_on(&self, first: NaiveDate) -> Option<NaiveDate> {
        self.days.map(|days| plus(self.starts_on(first), days))
    }

    pub(crate) fn runs(&self, first: NaiveDate, date: NaiveDate) -> bool {
        self.starts_on(first) <= date && self.ends_on(first).is_none_or(|end| date <= end)
    }
}
