(() => {
  const found = [];
  const channels = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
      if (colour[3] !== 0) found.push(`half-transparent: ${at.tagName}`);
    }
    return [255, 255, 255];
  };
  let texts = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "") || element.matches("input[type=text], textarea");
    if (!own || !element.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(style.color)), light(behind(element))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`);
  }
  if (texts < 5) found.push(`only ${texts} texts were seen`);
  for (const field of document.querySelectorAll("input:not([type=hidden]), textarea")) if (field.labels.length === 0) found.push(`no label: ${field.name}`);
  for (const cell of document.querySelectorAll("th")) if (!cell.scope) found.push("a heading of a table without scope");
  for (const named of document.querySelectorAll("a, button, summary")) if (named.innerText.trim() === "") found.push(`no name: ${named.outerHTML}`);
  for (const named of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(named.getAttribute("aria-labelledby"))) found.push("a label that is not there");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push(`${levels} headings`);
  levels.reduce((before, level) => { if (level > before + 1) found.push("a level left out"); return level; }, 0);
  for (const still of document.querySelectorAll("[onclick], [tabindex]")) if (still.tabIndex > 0) found.push("an order of its own");
  if (!document.documentElement.lang || !document.title || !document.querySelector("main")) found.push("no language, title or main part");
  if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the window by ${document.documentElement.scrollWidth - innerWidth}`);
  return found;
})()
