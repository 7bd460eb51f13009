"""A browser, and visitors of the page at the fixture `address`."""

import pytest


@pytest.fixture(scope="module")
def browser():
    import browsing

    with browsing.sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=browsing.CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page as another user each time; at the end nothing may have gone wrong in any of them."""
    import browsing

    contexts, faults = [], []

    def begin(at=address, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(browsing.TIMEOUT)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if browsing.own(request.url, at) else faults.append(request.url))
        page.on("console", lambda message: browsing.note(message, faults))
        page.goto(at)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert not faults
