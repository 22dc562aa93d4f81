// The two dialogs. What the API refuses is told inside the dialog, which stays open.

export const $ = (selector) => document.querySelector(selector);

export function box(dialog, submit) {
  const form = dialog.querySelector("form");
  const wrong = form.querySelector(".wrong");
  const done = form.querySelector("menu .primary");
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    done.disabled = true;
    try {
      await submit();
      dialog.close();
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      done.disabled = false;
    }
  });
  return () => {
    form.reset();
    wrong.textContent = "";
    dialog.showModal();
  };
}

let hiding;

export function toast(text) {
  $("#toast").textContent = text;
  $("#toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { $("#toast").hidden = true; }, 5000);
}
