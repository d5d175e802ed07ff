// What is wrong with the page on the screen, in words; for a person who looks, tabs, or listens. Returns a list.
() => {
  for (const animation of document.getAnimations()) animation.finish();
  const problems = [];
  const say = (text, element) => problems.push(element ? `${text}: ${element.outerHTML.slice(0, 120)}` : text);
  const all = (selector) => [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility());

  if (!document.documentElement.lang) say("the page names no language");
  if (!document.title.trim()) say("the page has no title");
  if (!document.querySelector("meta[name=viewport]")) say("no viewport is set");
  if (all("main").length !== 1) say(`${all("main").length} main landmarks`);
  if (all("h1").length !== 1) say(`${all("h1").length} level-1 headings`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) say(`id ${id} stands twice`);

  const name = (element) =>
    element.getAttribute("aria-label") || [...(element.labels || [])].map((label) => label.textContent).join(" ") || element.textContent;
  for (const field of all("input:not([type=hidden]), select, textarea"))
    if (!field.getAttribute("aria-label") && !field.labels.length) say("a field has no label", field);
  for (const control of all("a[href], button, [tabindex='0']")) {
    if (!name(control).trim()) say("a control has no name", control);
    if (control.tabIndex < 0) say("a control cannot be reached by keyboard", control);
  }
  for (const button of all("button, a.button, input:not([type=hidden]), select"))
    if (button.getBoundingClientRect().height < 24) say("a target is too small", button); // WCAG 2.2, 2.5.8
  for (const image of all("img:not([alt]), svg:not([aria-hidden]):not([aria-label])")) say("a picture has no alternative", image);

  // Contrast, WCAG 2.2, 1.4.3. Colours are painted on a canvas, so that every notation counts.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const luminance = (channels) => {
    const [r, g, b] = channels.slice(0, 3).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const lineage = (element) => (element ? [...lineage(element.parentElement), element] : []);
  const ground = (element) =>
    lineage(element).reduce((below, one) => over(colour(getComputedStyle(one).backgroundColor), below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest("script, style, .hidden, option, .skip")) continue;
    const [r, g, b, a] = colour(getComputedStyle(element).color);
    const opacity = lineage(element).reduce((share, one) => share * Number(getComputedStyle(one).opacity), 1);
    const found = ratio(over([r, g, b, a * opacity], ground(element)), ground(element));
    if (found < 4.5) say(`contrast ${found.toFixed(2)} for "${walker.currentNode.data.trim().slice(0, 30)}"`, element);
  }
  const focused = document.activeElement;
  if (focused && focused !== document.body && focused.matches(":focus-visible")) {
    const style = getComputedStyle(focused);
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (!outlined) say("the focus cannot be seen", focused);
    else if (style.outlineStyle !== "auto" && ratio(colour(style.outlineColor), ground(focused.parentElement)) < 3) say("the focus is faint", focused);
  }
  return problems;
}
