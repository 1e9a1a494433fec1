import base64
import html
import io
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import rasterio.warp
from PIL import Image
from rasterio import Affine

from landcover.report.map_page import HALF, map_page, tiles

COLOURS = {"tree_cover": "#006400", "cropland": "#f096ff"}
AREAS = [{"class": "tree_cover", "share": 0.25, "km2": 2.25}, {"class": "cropland", "share": 0.75, "km2": 1234.5}]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# At the end of the page: move the slider as a person does, and write down what comes of it.
PROBE = """<script>
  onload = () => {
    const slider = document.getElementById("swipe"), top = document.getElementById("land-cover");
    const clip = () => getComputedStyle(top).clipPath, before = clip();
    slider.value = 20;
    slider.dispatchEvent(new Event("input"));
    const pictures = [...document.querySelectorAll("#pictures img")].map(one => [one.naturalWidth, one.naturalHeight]);
    const probe = {before, after: clip(), pictures, wide: document.body.scrollWidth <= innerWidth};
    setTimeout(() => document.body.dataset.probe = JSON.stringify({...probe, images: document.images.length}), 1000);
  };
</script>"""


def page(name="scene", date="2023-06-13", crs="EPSG:32633", left=500_000, labels=((0, 1), (1, -1))) -> str:
    """Of a scene of 4 x 4 km with 1 km of nodata in the west, whose cells are its inner 2 x 2 km."""
    thumbnail = np.full((3, 40, 40), 0.1, np.float32)
    thumbnail[:, :20] = 0.2
    thumbnail[..., :10] = 0
    place = Affine(100, 0, left, 0, -100, 5_000_000)
    cells = Affine(1000, 0, left + 1000, 0, -1000, 4_999_000)
    labels = np.array(labels, np.int16)
    return map_page(
        name, date, thumbnail, ["B04", "B03", "B02"], place, labels, cells, crs, COLOURS, AREAS, ["A & B."]
    )  # fmt: skip


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/webp;base64,([^\"]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGBA")) for each in found]


def test_a_page_holds_both_pictures_on_one_grid_with_transparent_nodata():
    picture, land_cover = pictures(page())
    height, width = picture.shape[:2]
    assert land_cover.shape == picture.shape
    assert abs(height - width) <= 1
    at = [(round(height * row), round(width * column)) for row, column in ((0.35, 0.35), (0.35, 0.6), (0.6, 0.35))]
    assert [land_cover[place].tolist() for place in at] == [[0, 100, 0, 255], *[[240, 150, 255, 255]] * 2]
    assert land_cover[height * 6 // 10, width * 6 // 10, 3] == 0  # a cell without a class
    assert land_cover[height // 10, width // 2, 3] == 0  # around the cells
    assert picture[height // 2, width // 8, 3] == 0
    assert picture[height // 2, width // 2, 3] == 255
    assert picture[height // 4, width // 2, 0] > picture[3 * height // 4, width // 2, 0]  # north is up


def test_a_page_says_what_it_shows_and_quotes_names():
    text = page(name="<b>S2&.tif", labels=[[0]])
    assert "<title>Land cover of &lt;b&gt;S2&amp;.tif</title>" in text
    assert "Sentinel-2 on 2023-06-13." in text
    assert 'alt="The land cover: 75% cropland, 25% tree cover"' in text
    assert 'alt="The scene in true colour"' in text
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>.*", text)]
    assert rows == [["cropland", "75%", "1,234", "km²"], ["tree", "cover", "25%", "2.25", "km²"]]
    assert "<p>A &amp; B.</p>" in text
    assert "Sentinel-2 on" not in page(date=None)
    # All that it asks a network for is the base map.
    addresses = {html.unescape(each) for each in re.findall(r"(?:src|href)=\"(https?://[^/]+)", text)}
    assert addresses == {
        "https://basemaps.cartocdn.com", "https://www.openstreetmap.org", "https://carto.com"
    }  # fmt: skip


def test_tiles_lie_where_their_numbers_say():
    quarters = tiles(-HALF, -HALF, HALF, HALF)
    assert len(quarters) == 16
    assert quarters[6] == {"zoom": 2, "x": 2, "y": 1, "left": 50, "top": 25, "width": 25, "height": 25}
    assert {tile["x"] for tile in tiles(HALF - 10, 0, HALF + 10, 20)} == {2**18 - 1, 0}  # on both sides of 180 degrees


@pytest.mark.parametrize(("crs", "left"), [("EPSG:32633", 500_000), ("EPSG:32701", 264_000)])
def test_the_base_map_lies_under_the_scene(crs, left):
    """The middle of the scene has its place on the tile that has it, also at 180 degrees, where the second scene is."""
    text = page(crs=crs, left=left)
    (lon,), (lat,) = rasterio.warp.transform(crs, "EPSG:4326", [left + 2000], [4_998_000])
    found = re.findall(r"/(\d+)/(\d+)/(\d+)\.png\".*left: ([\d.-]+)%; top: ([\d.-]+)%; width: ([\d.]+)%; height", text)
    zoom = int(found[0][0])
    # As the OpenStreetMap wiki has it under "Slippy map tilenames".
    x = (lon + 180) / 360 * 2**zoom
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**zoom
    places = {(int(x), int(y)): tuple(map(float, rest)) for _, x, y, *rest in found}
    tile_left, tile_top, side = places[int(x), int(y)]
    assert tile_left + x % 1 * side == pytest.approx(50, abs=0.5)
    assert tile_top + y % 1 * side == pytest.approx(50, abs=0.5)
    assert 9 < len(found) <= 25


@pytest.mark.skipif(CHROMIUM is None, reason="opens the page in Chromium, which is not installed")
def test_a_browser_without_a_network_shows_the_page_and_moves_the_slider(tmp_path):
    (tmp_path / "map.html").write_text(page(name="A" * 200).replace("</html>", f"{PROBE}</html>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=400,800", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "map.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    probe = json.loads(html.unescape(re.search('data-probe="([^"]+)"', done.stdout)[1]))
    assert (probe["before"], probe["after"]) == ("inset(0px 0px 0px 50%)", "inset(0px 0px 0px 20%)")
    assert probe["pictures"][0] == probe["pictures"][1]
    assert min(probe["pictures"][0]) > 30
    assert probe["wide"]  # nothing is wider than a phone
    assert probe["images"] == 2  # tiles that cannot be fetched are gone
