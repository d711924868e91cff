//! `pipeline map` and `pipeline coverage simulate`: what they show of a lake, in a real browser and to other programs.

mod few;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use pipeline_tests::browser::{Browser, keys};
use pipeline_tests::{Project, Row, place};
use serde_json::{Value, json};

/// A lake in two runs: up to 20 October 2025, then all. Every test here only reads it.
static LAKE: LazyLock<Lake> = LazyLock::new(|| {
    let mut project = Project::new();
    // Most tests compare exact numbers. What small cells show has a test of its own.
    project.set("parameters.k_anonymity", 1);
    let first = project.pipeline(&["run", "nightly", "--from", "2025-01-01", "--to", "2025-10-20", "--output", "json"]);
    let first = first.succeeded().json()["run_id"].as_str().unwrap().to_owned();
    project.pipeline(&["run", "nightly"]).succeeded();
    Lake { project, first }
});

struct Lake {
    project: Project,
    first: String,
}

impl Lake {
    fn number(&self, sql: &str) -> i64 {
        self.project.value(sql).parse().unwrap()
    }

    /// A map with these arguments.
    fn map(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let file = self.project.folder().join(name);
        let mut all = vec!["map", "nightly", "-o", file.to_str().unwrap()];
        all.extend(arguments);
        self.project.pipeline(&all).succeeded();
        file
    }
}

fn open(browser: &Browser, file: &Path) {
    browser.go(file);
    browser.until("document.documentElement.dataset.ready === 'yes'");
}

/// The digits of a text: what a number is, however it is grouped.
fn digits(text: &str) -> i64 {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(-1)
}

fn figure(browser: &Browser, name: &str) -> i64 {
    digits(&browser.text(&format!("#figure-{name} strong")))
}

fn exact_revenue(browser: &Browser) -> i64 {
    let title = browser.script("return document.querySelector('#figure-revenue strong').title;", &Value::Null);
    digits(title.as_str().unwrap())
}

/// What the page says to those who listen.
fn said(browser: &Browser) -> String {
    browser.script("return document.getElementById('live').textContent;", &Value::Null).as_str().unwrap().to_owned()
}

#[test]
fn the_page_shows_what_the_lake_holds() {
    let lake = &*LAKE;
    let file = lake.map("map.html", &[]);
    let browser = Browser::open(1280, 900);
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    let of = |column: &str, more: &str| {
        lake.number(&format!("SELECT coalesce(sum({column}), 0) FROM coverage_orders WHERE resolution = 8 {more}"))
    };
    assert_eq!(figure(&browser, "orders"), of("orders", ""));
    assert_eq!(figure(&browser, "new"), of("new_customers", ""));
    let served = |resolution: i32, more: &str| {
        lake.number(&format!("SELECT count(DISTINCT cell) FROM coverage_orders WHERE resolution = {resolution} {more}"))
    };
    assert_eq!(figure(&browser, "cells"), served(8, ""));

    // Another resolution has other cells and the same orders.
    browser.click("label[for='layer-0']");
    assert_eq!((figure(&browser, "orders"), figure(&browser, "cells")), (of("orders", ""), served(7, "")));
    browser.click("label[for='layer-1']");

    // The slider, by keyboard: from the first day to the last one alone, then a day back.
    let last = lake.project.value("SELECT max(business_date) FROM coverage_orders");
    browser.script("document.getElementById('from').focus();", &Value::Null);
    browser.keys(keys::END);
    assert_eq!(figure(&browser, "orders"), of("orders", &format!("AND business_date = DATE '{last}'")));
    browser.keys(keys::LEFT);
    assert_eq!(figure(&browser, "orders"), of("orders", &format!("AND business_date >= DATE '{last}' - INTERVAL '1 day'")));
    assert_eq!(browser.script("return document.activeElement.id;", &Value::Null), "from", "focus stays on the slider");

    // Money of one currency, to the cent.
    browser.keys(keys::HOME);
    browser.choose("#currency", "PLN");
    let revenue = lake.project.value("SELECT sum(revenue) FROM coverage_orders WHERE resolution = 8 AND currency = 'PLN'");
    assert_eq!(exact_revenue(&browser), digits(&revenue));
    assert_eq!(figure(&browser, "orders"), of("orders", "AND currency = 'PLN'"));
    browser.choose("#currency", "All");

    // Revenue of all currencies is no number: the page says so, and what helps.
    browser.choose("#measure", "Revenue");
    assert!(browser.text("#cannot").contains("not added"), "{}", browser.text("#cannot"));
    browser.click("#cannot button");
    browser.until("document.getElementById('cannot').hidden");
    browser.choose("#currency", "All");

    // A median is of one day.
    browser.choose("#measure", "Delivery time, median");
    assert!(browser.text("#cannot").contains("single day"), "{}", browser.text("#cannot"));
    browser.click("#cannot button");
    browser.click("#tab-cells");
    let median = lake.project.value(&format!(
        "SELECT max(median) FROM (SELECT max(delivery_minutes_p50) AS median FROM coverage_orders
         WHERE resolution = 8 AND business_date = DATE '{last}' GROUP BY cell HAVING count(*) = 1)"
    ));
    let shown = browser.text("#panel tbody tr:first-child td:first-child");
    let tenths = (median.parse::<f64>().unwrap() * 10.0).round();
    assert!((digits(&shown) as f64 - tenths).abs() < 0.5, "{shown} is the largest median, {median}");

    let requests = browser.requests();
    assert!(!requests.is_empty() && requests.iter().all(|url| url.starts_with("file:") || url.starts_with("data:")), "{requests:?}");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn the_page_is_used_by_keyboard_alone() {
    let lake = &*LAKE;
    let file = lake.map("keyboard.html", &[]);
    let browser = Browser::open(1280, 900);
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    // Gaps, ranked: down and choose.
    browser.script("document.querySelector('#panel tbody tr').focus();", &Value::Null);
    browser.keys(keys::DOWN);
    browser.keys(keys::ENTER);
    let chosen = browser.script(
        "return [...document.querySelectorAll('#panel tbody tr')].findIndex((row) => row.getAttribute('aria-selected') === 'true');",
        &Value::Null,
    );
    assert_eq!(chosen, 1);
    let attempts = lake.number("SELECT attempts FROM coverage_gaps WHERE opportunity_rank = 2");
    let gap = said(&browser);
    assert!(gap.starts_with("Gap 2: ") && gap.contains(&format!(" {attempts} orders")), "{gap}");

    // Sorted by orders, most first.
    browser.script("document.getElementById('sort-attempts').focus();", &Value::Null);
    browser.keys(keys::ENTER);
    assert_eq!(
        digits(&browser.text("#panel tbody tr:first-child td:nth-child(3)")),
        lake.number("SELECT max(attempts) FROM coverage_gaps")
    );
    assert_eq!(
        browser.script(
            "return document.querySelector('th:nth-child(3)').getAttribute('aria-sort') + document.activeElement.id;",
            &Value::Null
        ),
        "descendingsort-attempts"
    );

    // Tabs by arrows.
    browser.script("document.getElementById('tab-gaps').focus();", &Value::Null);
    browser.keys(keys::RIGHT);
    assert_eq!(browser.script("return document.activeElement.id;", &Value::Null), "tab-cells");

    // The map: an arrow goes to a cell and says what it is.
    browser.script("document.getElementById('map').focus();", &Value::Null);
    browser.keys("0");
    browser.choose("#place", "Warszawa");
    browser.script("document.getElementById('map').focus();", &Value::Null);
    let before = said(&browser);
    browser.keys(keys::RIGHT);
    let first = said(&browser);
    browser.keys(keys::DOWN);
    let second = said(&browser);
    assert!(first != before && second != first, "{before} / {first} / {second}");
    let cell = second.strip_prefix("Cell ").and_then(|text| text.split('.').next()).unwrap();
    let orders = lake.number(&format!("SELECT sum(orders) FROM coverage_orders WHERE cell = '{cell}'"));
    let spoken = second.split(". ").find_map(|part| part.strip_prefix("Orders: ")).unwrap();
    assert_eq!(digits(spoken), orders);
    browser.keys(keys::ESCAPE);
    browser.until("document.getElementById('tip').hidden");

    // What is focused is seen to be.
    browser.keys(keys::TAB);
    let outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle;", &Value::Null);
    assert_eq!(outline, "solid");
    // Every control has a name.
    let nameless = browser.script(
        "return [...document.querySelectorAll('button, select, input')].filter((control) => control.offsetParent && !(control.textContent.trim() || control.getAttribute('aria-label') || control.labels && control.labels.length)).map((control) => control.outerHTML);",
        &Value::Null,
    );
    assert_eq!(nameless, json!([]));
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// How many different colours a screenshot has in each of nine fields, and how bright it is at all.
fn look(shot: &str) -> (Vec<i64>, f64) {
    let judge = Browser::open(600, 400);
    let found = judge.script_later(
        "const [shot, done] = arguments, image = new Image();
         image.onload = () => {
           const canvas = document.createElement('canvas'), pen = canvas.getContext('2d', { willReadFrequently: true });
           canvas.width = image.width; canvas.height = image.height;
           pen.drawImage(image, 0, 0);
           const fields = [];
           let light = 0;
           for (let y = 0; y < 3; y += 1) for (let x = 0; x < 3; x += 1) {
             const w = Math.floor(image.width / 3), h = Math.floor(image.height / 3), pixels = pen.getImageData(x * w, y * h, w, h).data, colors = new Set();
             for (let at = 0; at < pixels.length; at += 4) { colors.add(pixels[at] << 16 | pixels[at + 1] << 8 | pixels[at + 2]); light += pixels[at] + pixels[at + 1] + pixels[at + 2]; }
             fields.push(colors.size);
           }
           done({ fields, light: light / 3 / 255 / (image.width * image.height) });
         };
         image.onerror = () => done(null);
         image.src = 'data:image/png;base64,' + shot;",
        &Value::String(shot.to_owned()),
    );
    let fields = found["fields"].as_array().unwrap().iter().map(|count| count.as_i64().unwrap()).collect();
    (fields, found["light"].as_f64().unwrap())
}

#[test]
fn the_page_looks_right_in_light_dark_and_on_a_phone() {
    let lake = &*LAKE;
    let file = lake.map("look.html", &["--locale", "pl-PL"]);
    let browser = Browser::open(1280, 900);
    open(&browser, &file);
    let (fields, light) = look(&browser.screenshot());
    assert!(fields.iter().all(|colors| *colors > 10), "nothing of it is blank: {fields:?}");
    assert!(light > 0.8, "{light}");
    // Numbers as the locale writes them.
    assert!(browser.text("#time-text").contains("2025"), "{}", browser.text("#time-text"));
    assert!(browser.text("#figure-late strong").contains(','), "{}", browser.text("#figure-late strong"));

    // The classes' colours become darker step by step, so that they are told apart without seeing hues.
    let luminances = "return [...document.querySelectorAll('#legend i')].map((swatch) => getComputedStyle(swatch).backgroundColor.match(/\\d+/g).map(Number))
        .map(([r, g, b]) => [r, g, b].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4)).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0));";
    let steps = |browser: &Browser| -> Vec<f64> {
        browser.script(luminances, &Value::Null).as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let bright = steps(&browser);
    assert!(bright.len() >= 3 && bright.windows(2).all(|pair| pair[0] > pair[1] + 0.01), "{bright:?}");

    browser.prefer("prefers-color-scheme", "dark");
    browser.until("!document.querySelector('#legend i').style.background.includes('220, 239, 210')");
    let dark = steps(&browser);
    assert!(dark.windows(2).all(|pair| pair[0] < pair[1] - 0.01), "{dark:?}");
    let (fields, light) = look(&browser.screenshot());
    assert!(fields.iter().all(|colors| *colors > 10) && light < 0.35, "{fields:?} {light}");

    browser.size(390, 844);
    browser.until("window.innerWidth === 390");
    assert_eq!(browser.script("return document.scrollingElement.scrollWidth;", &Value::Null), 390, "nothing is wider than the phone");
    let overflowing = browser.script(
        "return [...document.querySelectorAll('body *')].filter((element) => { const box = element.getBoundingClientRect(); return box.width > 0 && box.right > 391 && !element.closest('#panel, .hidden'); }).map((element) => element.tagName + '.' + element.className + '#' + element.id);",
        &Value::Null,
    );
    assert_eq!(overflowing, json!([]));
    let (fields, _) = look(&browser.screenshot());
    assert!(fields.iter().all(|colors| *colors > 5), "{fields:?}");
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// The numbers of won and lost cells that the page says.
fn won_and_lost(browser: &Browser) -> (i64, i64) {
    let text = browser.text("#panel .note");
    let before = |word: &str| digits(text.split(word).next().unwrap().rsplit([',', '.']).next().unwrap());
    (before(" won"), before(" lost"))
}

#[test]
fn cells_won_and_lost_are_those_of_the_lake() {
    let lake = &*LAKE;
    // Days against days.
    let file = lake.map("days.html", &["--days", "2025-10-01..2025-10-14", "--compare-to", "2025-09-20..2025-09-30"]);
    let browser = Browser::open(1280, 900);
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    // The last eleven days of both.
    let cells = |from: &str, to: &str| {
        format!("SELECT DISTINCT cell FROM coverage_orders WHERE resolution = 8 AND business_date BETWEEN DATE '{from}' AND DATE '{to}'")
    };
    let (now, then) = (cells("2025-10-04", "2025-10-14"), cells("2025-09-20", "2025-09-30"));
    let only = |these: &str, others: &str| lake.number(&format!("SELECT count(*) FROM ({these} EXCEPT {others})"));
    assert_eq!(won_and_lost(&browser), (only(&now, &then), only(&then, &now)));
    assert!(only(&now, &then) > 0 && only(&then, &now) > 0);

    // Against what the first run left: the table is read as it was then.
    let file = lake.map("run.html", &["--compare-to", &lake.first[..13]]);
    open(&browser, &file);
    browser.choose("#place", "Everywhere");
    let text = browser.text("#panel .note");
    assert!(text.contains(&lake.first), "{text}");
    let data: Value = page_data(&file);
    let dates = data["baseline"]["dates"].as_array().unwrap();
    assert!(data["baseline"]["to"].as_str().unwrap() < "2025-10-21", "the run had read no later orders: {}", data["baseline"]["to"]);
    assert!(!dates.is_empty());
    let (won, lost) = won_and_lost(&browser);
    assert!(won > 0 && lost > 0, "{won} won, {lost} lost");
    assert_eq!(browser.console(), Vec::<String>::new());
}

/// The data of a page, as it stands in it.
fn page_data(file: &Path) -> Value {
    let page = std::fs::read_to_string(file).unwrap();
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// The same page with other data.
fn with_data(file: &Path, name: &str, data: &Value) -> PathBuf {
    let page = std::fs::read_to_string(file).unwrap();
    let (before, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let after = rest.split_once("</script>").unwrap().1;
    let escaped = data.to_string().replace('<', "\\u003c");
    let changed = file.with_file_name(name);
    std::fs::write(&changed, format!("{before}<script type=\"application/json\" id=\"data\">{escaped}</script>{after}")).unwrap();
    changed
}

#[test]
fn poles_the_antimeridian_and_hostile_names_do_not_break_the_page() {
    let lake = &*LAKE;
    let file = lake.map("world.html", &["--resolution", "8"]);
    let mut data = page_data(&file);
    // One cell, its own length and breadth kept, on the 180th meridian; its store beside it.
    let layer = &mut data["layers"][0];
    let (lat, lng) = (layer["centers"][0].as_i64().unwrap(), layer["centers"][1].as_i64().unwrap());
    layer["centers"] = json!([0, 180_000_000]);
    let outline: Vec<i64> = layer["outlines"][0]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, value)| value.as_i64().unwrap() + if index % 2 == 0 { 180_000_000 - lng } else { -lat })
        .collect();
    let across: Vec<i64> = outline
        .iter()
        .enumerate()
        .map(|(index, value)| if index % 2 == 0 && *value > 180_000_000 { value - 360_000_000 } else { *value })
        .collect();
    layer["outlines"] = json!([across]);
    layer["cells"] = json!([layer["cells"][0]]);
    layer["rows"] = json!({ "bucket": [0], "cell": [0], "currency": [0], "orders": [3], "completed": [3], "cancelled": [0], "late": [0], "new_customers": [1],
        "revenue": [100], "minutes": [300], "distance": [500], "minutes_p50": [300], "minutes_p90": [300], "customers": [1], "stores": [1] });
    let hostile = "</script><img src=x onerror=\"document.title='broken'\"><b>&\u{2028}";
    data["stores"] = json!([{ "id": 1, "name": hostile, "city": hostile, "country": "FJ", "lat": 0.001, "lng": -179.999, "radius": 900, "closed": false }]);
    data["store_rows"] =
        json!({ "bucket": [], "store": [], "currency": [], "orders": [], "completed": [], "cancelled": [], "late": [], "revenue": [] });
    for (_, column) in data["gaps"].as_object_mut().unwrap() {
        *column = json!([]);
    }
    let browser = Browser::open(1000, 800);
    // How far what is drawn in a cell's colour reaches: one cell at the side of the map's middle, and no band.
    let reach = "const canvas = document.getElementById('map'), pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        const color = getComputedStyle(document.querySelector('#legend i')).backgroundColor.match(/\\d+/g).map(Number);
        let count = 0, west = Infinity, east = -Infinity;
        for (let at = 0; at < pixels.length; at += 4) if (color.every((part, index) => Math.abs(pixels[at + index] - part) < 3)) {
          const x = at / 4 % canvas.width; count += 1; west = Math.min(west, x); east = Math.max(east, x);
        }
        return { count, west: west / canvas.width, east: east / canvas.width };";
    for (name, outline) in [("beyond.html", &outline), ("wrapped.html", &across)] {
        data["layers"][0]["outlines"] = json!([outline]);
        open(&browser, &with_data(&file, name, &data));
        browser.script("for (const name of ['reach', 'stores']) document.getElementById('show-' + name).click();", &Value::Null);
        let found = browser.script(reach, &Value::Null);
        let (west, east) = (found["west"].as_f64().unwrap_or(0.0), found["east"].as_f64().unwrap_or(0.0));
        assert!(found["count"].as_i64().unwrap() > 500, "{name}: the cell is there: {found}");
        assert!(west > 0.05 && east < 0.95, "{name}: a cell in the middle, no band: {found}");
        browser.click("#tab-stores");
        assert!(browser.text("#panel tbody td:first-child").contains("<img src=x"), "the name is shown as it is");
        assert_eq!(browser.script("return document.querySelectorAll('img, #panel b').length;", &Value::Null), 0);
        assert!(browser.script("return document.title;", &Value::Null).as_str().unwrap().starts_with("Delivery coverage"));
    }
    // Around the pole: corners on all meridians, closed along the pole.
    let mut around: Vec<i64> = (0..=6).flat_map(|corner| [corner * 60_000_000 - 180_000_000, 89_995_000]).collect();
    around.extend([180_000_000, 90_000_000, -180_000_000, 90_000_000]);
    data["layers"][0]["centers"] = json!([90_000_000, 0]);
    data["layers"][0]["outlines"] = json!([around]);
    data["stores"][0]["lat"] = json!(89.999);
    open(&browser, &with_data(&file, "pole.html", &data));
    browser.script("for (const name of ['reach', 'stores']) document.getElementById('show-' + name).click();", &Value::Null);
    let found = browser.script(reach, &Value::Null);
    assert!(found["count"].as_i64().unwrap() > 2000, "{found}");
    assert!(found["west"].as_f64().unwrap() > 0.05 && found["east"].as_f64().unwrap() < 0.95, "{found}");
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn ninety_days_of_ten_thousand_cells_can_be_used() {
    let lake = &*LAKE;
    let file = lake.map("large.html", &["--resolution", "8"]);
    let mut data = page_data(&file);
    let (cells, days) = (10_000_i64, 90_i64);
    let first = "2025-08-06".parse::<chrono::NaiveDate>().unwrap();
    let dates: Vec<String> = first.iter_days().take(90).map(|date| date.to_string()).collect();
    (data["from"], data["to"], data["dates"]) = (json!(dates[0]), json!(dates[89]), json!(dates));
    let place = |cell: i64| (52_000_000 + cell / 100 * 9_000, 21_000_000 + cell % 100 * 14_000);
    let layer = &mut data["layers"][0];
    layer["cells"] = json!((0..cells).map(|cell| format!("{cell:015x}")).collect::<Vec<_>>());
    layer["centers"] = json!((0..cells).flat_map(|cell| [place(cell).0, place(cell).1]).collect::<Vec<_>>());
    let corners = [(4_500, 0), (2_250, 7_000), (-2_250, 7_000), (-4_500, 0), (-2_250, -7_000), (2_250, -7_000)];
    layer["outlines"] = json!(
        (0..cells)
            .map(|cell| corners.iter().flat_map(|(up, right)| [place(cell).1 + right, place(cell).0 + up]).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    );
    let rows = cells * days;
    layer["rows"] = json!("ROWS");
    for (_, column) in data["store_rows"].as_object_mut().unwrap() {
        *column = json!([]);
    }
    let browser = Browser::open(1280, 900);
    let page = with_data(&file, "larger.html", &data);
    // As text, because millions of values take a second to print and a minute to build.
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, after) = text.split_once("\"ROWS\"").unwrap();
    let mut large = format!("{before}{{");
    let others = ["completed", "cancelled", "late", "new_customers", "revenue", "minutes", "distance"];
    let columns = ["bucket", "cell", "currency", "orders"].into_iter().chain(others);
    for name in columns {
        large.push_str(&format!("{}\"{name}\":[", if name == "bucket" { "" } else { "," }));
        for row in 0..rows {
            let value = match name {
                "bucket" => row / cells,
                "cell" => row % cells,
                "currency" => 0,
                "orders" => 1 + row % 7,
                _ => row % 5,
            };
            large.push_str(if row == 0 { "" } else { "," });
            large.push_str(&value.to_string());
        }
        large.push(']');
    }
    large.push('}');
    large.push_str(after);
    std::fs::write(&page, large).unwrap();
    open(&browser, &page);
    browser.choose("#place", "Everywhere");
    assert_eq!(figure(&browser, "orders"), (0..rows).map(|row| 1 + row % 7).sum::<i64>());
    let took = browser.script("const begin = performance.now(), to = document.getElementById('to'); to.value = 40; to.dispatchEvent(new Event('input')); return performance.now() - begin;", &Value::Null);
    assert_eq!(figure(&browser, "orders"), (0..cells * 41).map(|row| 1 + row % 7).sum::<i64>());
    assert!(took.as_f64().unwrap() < 3_000.0, "a move of the slider takes {took} ms");
}

#[test]
fn other_programs_read_geojson_and_geoparquet() {
    let lake = &*LAKE;
    let geojson = lake.map("map.geojson", &[]);
    let parquet = lake.map("map.parquet", &[]);
    lake.map("stores.parquet", &["--layer", "stores"]);
    lake.map("gaps.geojson", &["--layer", "gaps"]);
    let script = place::repository().join("tests/it/geo.py");
    let output = Command::new(place::service("python")).arg(script).arg(lake.project.folder()).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["cells"], json!(lake.number("SELECT count(*) FROM (SELECT DISTINCT resolution, cell FROM coverage_orders)")));
    assert_eq!(found["orders"], json!(lake.number("SELECT sum(orders) FROM coverage_orders")));
    assert_eq!(found["revenue_PLN"], json!(lake.project.value("SELECT sum(revenue) FROM coverage_orders WHERE currency = 'PLN'")));
    assert_eq!(found["gaps"], json!(lake.number("SELECT count(*) FROM coverage_gaps")));
    assert_eq!(found["stores"], json!(lake.number("SELECT count(*) FROM stores WHERE latitude IS NOT NULL AND longitude IS NOT NULL")));

    // Written again, they are the same, bit for bit.
    for (file, name) in [(geojson, "again.geojson"), (parquet, "again.parquet"), (lake.map("one.html", &[]), "again.html")] {
        assert!(std::fs::read(&file).unwrap() == std::fs::read(lake.map(name, &[])).unwrap(), "{name}");
    }
}

fn number(row: &Row, column: &str) -> f64 {
    match &row[column] {
        Value::String(text) => text.parse().unwrap(),
        value => value.as_f64().unwrap(),
    }
}

/// The haversine formula on the sphere of the docs.
fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (lat, lng) = ((b.0 - a.0).to_radians(), (b.1 - a.1).to_radians());
    let h = (lat / 2.0).sin().powi(2) + a.0.to_radians().cos() * b.0.to_radians().cos() * (lng / 2.0).sin().powi(2);
    2.0 * 6_371_008.8 * h.sqrt().asin()
}

/// The demand of 28 days and the open stores, read plainly, so that simulations can be counted by hand.
struct Demand {
    orders: Vec<Row>,
    stores: Vec<(i64, (f64, f64), f64)>,
}

impl Demand {
    fn read(project: &Project) -> Self {
        let orders = project.query(
            "SELECT customer_id, store_id, currency, is_completed, CAST(revenue AS VARCHAR) AS revenue, h3_cell(latitude, longitude, 8) AS cell,
                h3_center_lat(h3_cell(latitude, longitude, 8)) AS lat, h3_center_lng(h3_cell(latitude, longitude, 8)) AS lng
             FROM orders WHERE fulfilment = 'delivery' AND latitude IS NOT NULL AND longitude IS NOT NULL
                AND placed_at > as_of() - INTERVAL '28 days' AND placed_at <= as_of()",
        );
        let stores = project
            .query("SELECT store_id, latitude, longitude, delivery_radius_m FROM stores WHERE (closed_on IS NULL OR closed_on >= DATE '2025-11-04') AND (opened_on IS NULL OR opened_on <= DATE '2025-11-04') AND latitude IS NOT NULL");
        let stores = stores.iter().map(|row| {
            (row["store_id"].as_i64().unwrap(), (number(row, "latitude"), number(row, "longitude")), number(row, "delivery_radius_m"))
        });
        Self { orders, stores: stores.collect() }
    }

    fn reaches(&self, order: &Row, except: i64) -> bool {
        let at = (number(order, "lat"), number(order, "lng"));
        self.stores.iter().any(|(id, place, radius)| *id != except && distance_m(*place, at) <= *radius)
    }
}

/// Cells, orders, customers and hundredths of revenue by currency.
fn counted<'a>(orders: impl Iterator<Item = &'a Row>) -> Value {
    let (mut cells, mut customers, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut revenue: BTreeMap<String, i64> = BTreeMap::new();
    for order in orders {
        count += 1;
        cells.insert(order["cell"].to_string());
        if !order["customer_id"].is_null() {
            customers.insert(order["customer_id"].to_string());
        }
        if order["is_completed"] == true {
            let text = order["revenue"].as_str().unwrap();
            let cents = digits(text) * if text.starts_with('-') { -1 } else { 1 };
            *revenue.entry(order["currency"].as_str().unwrap_or("XXX").to_owned()).or_default() += cents;
        }
    }
    json!({ "cells": cells.len(), "orders": count, "customers": customers.len(), "revenue": revenue })
}

/// The same of an answer.
fn answered(demand: &Value) -> Value {
    let revenue: BTreeMap<String, i64> = demand["revenue"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(currency, amount)| {
            let text = amount.as_str().unwrap();
            (currency.clone(), digits(text) * if text.starts_with('-') { -1 } else { 1 })
        })
        .collect();
    json!({ "cells": demand["cells"], "orders": demand["orders"], "customers": demand["customers"], "revenue": revenue })
}

#[test]
fn a_new_store_reaches_what_can_be_counted_by_hand() {
    let lake = &*LAKE;
    let demand = Demand::read(&lake.project);
    // Where a gap is out of every store's reach, so that there is something to win.
    let gap = lake
        .project
        .query("SELECT cell, cell_latitude, cell_longitude FROM coverage_gaps WHERE is_out_of_reach ORDER BY opportunity_rank LIMIT 1");
    let (at, radius) = ((number(&gap[0], "cell_latitude"), number(&gap[0], "cell_longitude")), 2500.0);
    let add = format!("{},{}", at.0, at.1);
    let answer = lake.project.pipeline(&["coverage", "simulate", "--add", &add, "--radius", "2500", "--output", "json"]).succeeded().json();
    assert_eq!(answer["schema_version"], 1);
    let result = &answer["result"];
    let inside = |order: &&Row| distance_m(at, (number(order, "lat"), number(order, "lng"))) <= radius;
    assert_eq!(answered(&result["reached"]), counted(demand.orders.iter().filter(inside)));
    assert_eq!(answered(&result["new"]), counted(demand.orders.iter().filter(inside).filter(|order| !demand.reaches(order, -1))));
    assert_eq!(answered(&result["shared"]), counted(demand.orders.iter().filter(inside).filter(|order| demand.reaches(order, -1))));
    assert!(result["new"]["orders"].as_i64().unwrap() > 0);
    let gaps = result["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|found| found["cell"] == gap[0]["cell"] && found["effect"] != "one store more"), "{gaps:?}");

    let human = lake.project.pipeline(&["coverage", "simulate", "--add", &add, "--radius", "2500"]);
    assert!(human.succeeded().stdout.contains("newly in reach"), "{human}");
}

#[test]
fn a_store_that_closes_leaves_what_can_be_counted_by_hand() {
    let lake = &*LAKE;
    let demand = Demand::read(&lake.project);
    for (store, ..) in &demand.stores {
        let answer = lake.project.pipeline(&["coverage", "simulate", "--close", &store.to_string(), "--output", "json"]).succeeded().json();
        let its: Vec<&Row> = demand.orders.iter().filter(|order| order["store_id"] == *store).collect();
        let plain = |demand: &Value| {
            let mut all = answered(demand);
            all.as_object_mut().unwrap().remove("cells");
            all
        };
        let by_hand = |covered: Option<bool>| {
            plain(&in_answer(&counted(
                its.iter().copied().filter(|order| covered.is_none_or(|covered| demand.reaches(order, *store) == covered)),
            )))
        };
        assert_eq!(plain(&answer["result"]["all"]), by_hand(None), "store {store}");
        assert_eq!(plain(&answer["result"]["lost"]), by_hand(Some(false)), "store {store}");
        assert_eq!(plain(&answer["result"]["coverable"]), by_hand(Some(true)), "store {store}");
        if answer["result"]["coverable"]["orders"] != 0 {
            assert_ne!(answer["result"]["stores"], json!([]), "somebody could take them over");
        }
    }
}

/// Hundredths as an answer has them.
fn in_answer(counted: &Value) -> Value {
    let mut answer = counted.clone();
    for (_, amount) in answer["revenue"].as_object_mut().unwrap() {
        let cents = amount.as_i64().unwrap();
        *amount = json!(format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100));
    }
    answer
}

#[test]
fn what_cannot_be_done_is_said() {
    let empty = Project::new();
    let outcome = empty.pipeline(&["map", "nightly", "-o", "map.html", "--output", "json"]);
    let error = outcome.exited(2).error();
    assert!(error["code"] == "E-MAP-EMPTY" && error["hint"].as_str().unwrap().contains("pipeline run nightly"), "{outcome}");
    assert!(!empty.folder().join("map.html").exists());
    assert_eq!(empty.pipeline(&["coverage", "simulate", "--close", "1", "--output", "json"]).exited(2).error()["code"], "E-MAP-EMPTY");

    let lake = &*LAKE;
    for (arguments, code) in [
        (&["coverage", "simulate", "--add", "91,0", "--radius", "5"][..], "E-SIMULATION"),
        (&["coverage", "simulate", "--add", "52,21", "--radius", "0"], "E-SIMULATION"),
        (&["coverage", "simulate", "--add", "-52.5,-21", "--radius", "-3"], "E-SIMULATION"),
        (&["coverage", "simulate", "--close", "987654"], "E-SIMULATION"),
        (&["map", "nightly", "-o", "map.pdf"], "E-MAP-FILE"),
        (&["map", "nightly", "-o", "no/such/folder/map.html"], "E-MAP-FILE"),
        (&["map", "nightly", "-o", "m.html", "--days", "2031-01-01..2031-01-31"], "E-MAP-EMPTY"),
        (&["map", "nightly", "-o", "m.html", "--compare-to", "ffff"], "E-RUN-UNKNOWN"),
        (&["map", "nightly", "-o", "m.html", "--locale", "</script>"], "E-CONFIG"),
        (&["map", "weekly", "-o", "m.html"], "E-CONFIG"),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let outcome = lake.project.pipeline(&all);
        let error = outcome.exited(2).error();
        assert_eq!(error["code"], code, "{outcome}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
    }
    for arguments in [
        &["coverage", "simulate"][..],
        &["coverage", "simulate", "--add", "52,21"],
        &["coverage", "simulate", "--close", "1", "--add", "52,21", "--radius", "5"],
    ] {
        lake.project.pipeline(arguments).exited(2);
    }
}
