//! Stories of orders that come, trade, rest and end.

mod support;

use everopen_domain::*;
use support::*;

#[test]
fn a_limit_order_trades_at_the_makers_price_and_rests_with_the_rest() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    let (id, story) = desk.place(BOB, buy(8, 110));
    assert_eq!(
        story,
        [
            "#2 bob accepted, hold 880",
            "#2 takes 5 @ 100 from #1",
            "#1 filled",
            "#2 rests: buy 3 @ 110",
        ]
    );
    assert_eq!(desk.money(ANN, USD), (1_000_500, 0));
    assert_eq!(desk.money(BOB, USD), (1_000_000 - 500 - 330, 330));
    assert_eq!(desk.money(BOB, BTC), (1_000_005, 0));
    assert_eq!(desk.hold(id), 330);
    assert_eq!(desk.cancel(BOB, id), ["#2 canceled: Requested, 3 left"]);
    assert_eq!(desk.money(BOB, USD), (999_500, 0));
}
