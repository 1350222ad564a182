// Shows one of the two languages that are both in the page.
for (const button of document.querySelectorAll("[data-to]")) {
  button.addEventListener("click", () => {
    const to = button.dataset.to;
    document.documentElement.dataset.lang = document.documentElement.lang = to;
    document.title = document.querySelector("main.in-" + to).dataset.title;
    for (const other of document.querySelectorAll("[data-to]")) {
      other.setAttribute("aria-pressed", String(other.dataset.to === to));
    }
  });
}
